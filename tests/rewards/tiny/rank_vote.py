"""Three voters without models."""

from pathlib import Path


def fields(folder: Path) -> dict:
    return {"rewards": ["oracle", {"name": "taste", "user": "thin"}, "colorfulness"]}
