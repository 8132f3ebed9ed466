"""The report as JSON: the layout that other programs read."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from mmalign.evaluation.result import Comparison, Diversity, Evaluation, Share
from mmalign.evaluation.statistics import WinRate


def record(evaluation: Evaluation, config: Mapping[str, Any], versions: Mapping[str, str], command: str) -> dict[str, Any]:
    """The content of ``report.json``. A share is under the name of its reward, an interval is ``value, low, high``."""
    return {
        "aligned_to": evaluation.aligned_to,
        "comparisons": [_comparison(row) for row in evaluation.comparisons],
        "control": _win_rate(evaluation.control),
        "shares": {share.reward: _share(share) for share in evaluation.shares},
        "diversity": {} if evaluation.diversity is None else _diversity(evaluation.diversity),
        **({} if evaluation.clips is None else {"clips": asdict(evaluation.clips)}),
        "seconds": {name: round(value, 3) for name, value in evaluation.seconds.items()},
        "versions": dict(versions),
        "config": dict(config),
        "command": command,
    }


def score_lines(evaluation: Evaluation) -> str:
    """``scores.jsonl``: one line per prompt and seed with every score of both sides."""
    lines = []
    for index, prompt in enumerate(evaluation.prompts):
        for draw, seed in enumerate(evaluation.seeds[index].tolist()):
            sides = {
                side: {name: float(tables[place][index, draw]) for name, tables in evaluation.scores.items()}
                for place, side in enumerate(("base", "aligned"))
            }
            lines.append(json.dumps({"prompt": prompt, "index": index, "seed": seed, **sides}, ensure_ascii=False))
    return "\n".join(lines) + "\n"


def plain(value: Any) -> Any:
    """A configuration as JSON can hold it: paths and other objects become their text, tuples lists."""
    return json.loads(json.dumps(value, default=str))


def _comparison(row: Comparison) -> dict[str, Any]:
    return {"name": row.name, "reward": row.reward, "used_for_labels": row.used_for_labels, **_win_rate(row.result)}


def _win_rate(result: WinRate) -> dict[str, Any]:
    return asdict(result)


def _share(share: Share) -> dict[str, Any]:
    found = asdict(share)
    del found["reward"]
    return found


def _diversity(diversity: Diversity) -> dict[str, Any]:
    return asdict(diversity)
