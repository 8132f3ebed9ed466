"""Members through which gradients flow."""

from pathlib import Path

from tests.rewards.tiny import pickscore


def fields(folder: Path) -> dict:
    scorer = {"name": "pickscore", "shift": 1.0, "scale": 20.0, **pickscore.fields(folder)}
    return {"rewards": [scorer, {"name": "colorfulness", "weight": 0.5, "shift": 40.0, "scale": 15.0}]}
