"""Members through which gradients flow."""

from pathlib import Path

from tests.rewards.tiny import pickscore


def fields(folder: Path) -> dict:
    scorer = {"name": "pickscore", "weight": 0.1, "mean": 1.0, "std": 20.0, **pickscore.fields(folder)}
    return {"rewards": [scorer, {"name": "colorfulness", "mean": 40.0, "std": 15.0}]}
