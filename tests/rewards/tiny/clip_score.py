"""A folder of open_clip."""

from pathlib import Path

from tests.scorers.clips import open_clip


def fields(folder: Path) -> dict:
    open_clip(folder)
    return {"pretrained": str(folder)}
