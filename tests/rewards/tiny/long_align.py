"""A tiny PickScore and a file of prompts."""

from pathlib import Path

from mmalign.shapes.captions import prompts
from tests.rewards.tiny import pickscore


def fields(folder: Path) -> dict:
    (folder / "prompts.txt").write_text("\n".join(prompts("tuning")[:20]))
    return {"scorer": {"name": "pickscore", **pickscore.fields(folder)}, "prompts": str(folder / "prompts.txt")}
