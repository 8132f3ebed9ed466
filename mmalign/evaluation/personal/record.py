"""The findings as JSON holds them."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from mmalign.evaluation.personal.result import Comparison, Interpolation, PersonalEvaluation, PersonFound, Witness


def record(found: PersonalEvaluation, config: Mapping[str, Any], versions: Mapping[str, str], command: str) -> dict[str, Any]:
    """The contents of ``report.json``: the first keys as in every report, then what is of people alone."""
    return {
        "aligned_to": "people",
        "comparisons": [_comparison(row) for row in found.comparisons] + [_witness(row) for row in found.witnesses],
        "control": asdict(found.control),
        "confidence": found.confidence,
        "shots": found.shots,
        "people": [_person(person) for person in found.people],
        "interpolations": [interpolation(way) for way in found.interpolations],
        "settings": dict(found.settings),
        "seconds": {name: round(value, 3) for name, value in found.seconds.items()},
        "versions": dict(versions),
        "config": dict(config),
        "command": command,
    }


def score_lines(found: PersonalEvaluation) -> str:
    """``scores.jsonl``: one line per picture with what people thought of it."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found.rows)


def _comparison(row: Comparison) -> dict[str, Any]:
    told = {"name": row.name, "reward": "people", "used_for_labels": True}
    return told | {"group": row.group, "against": row.against, "shots": row.shots, "prompts": row.prompts, **asdict(row.result)}


def _witness(row: Witness) -> dict[str, Any]:
    name = f"{row.reward}, {row.group} people, over {row.against}"
    return {"name": name, "reward": row.reward, "used_for_labels": False, "group": row.group, "against": row.against, **asdict(row.result)}


def _person(person: PersonFound) -> dict[str, Any]:
    return asdict(person)


def interpolation(way: Interpolation) -> dict[str, Any]:
    """A way between two people as JSON has it."""
    return asdict(way) | {"monotone": way.monotone, "turned": way.turned}
