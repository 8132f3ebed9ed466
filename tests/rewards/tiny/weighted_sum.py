"""Members without models: of two units, one of which reads prompts."""

from pathlib import Path


def fields(folder: Path) -> dict:
    return {"rewards": [{"name": "oracle", "weight": 2.0}, {"name": "taste", "user": "thin", "weight": -0.5}, "colorfulness"]}
