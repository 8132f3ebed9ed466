"""The findings as JSON, in the layout of every ``report.json``, and the answers line by line."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from mmalign.evaluation.answers.result import AnswersEvaluation, Rate


def record(found: AnswersEvaluation, config: Mapping[str, Any], versions: Mapping[str, str], command: str) -> dict[str, Any]:
    """The content of ``report.json``. Keys are those of an evaluation of pictures; there is no control, since answers have no noise."""
    return {
        "aligned_to": found.aligned_to,
        "comparisons": [_comparison(row) for row in found.comparisons],
        "control": None,
        "shares": {rate.title: _rate(rate) for rate in (*found.rates, *found.made_up)},
        "lengths": {rate.title: _rate(rate) for rate in found.lengths},
        "diversity": {},
        "questions": found.questions,
        "unrated": found.unrated,
        "seconds": {name: round(value, 3) for name, value in found.seconds.items()},
        "versions": dict(versions),
        "config": dict(config),
        "command": command,
    }


def answer_lines(found: AnswersEvaluation) -> str:
    """``answers.jsonl``: one line per question with both answers and their marks."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found.rows)


def _comparison(row: Any) -> dict[str, Any]:
    return {"name": row.name, "reward": row.reward, "used_for_labels": row.used_for_labels, **asdict(row.result)}


def _rate(rate: Rate) -> dict[str, Any]:
    return asdict(rate)
