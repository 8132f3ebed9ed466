"""The rows that ``mmalign data realign`` writes: TRL's columns, with the other picture as ``rejected_images``."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from mmalign.data.responses import ResponseExample
from mmalign.factory.mia.rows import PICTURE, files
from mmalign.images import ImageSource

TURN = pa.struct({"role": pa.string(), "content": pa.list_(pa.struct({"type": pa.string(), "text": pa.string()}))})
SCHEMA = pa.schema(
    {
        "prompt": pa.list_(TURN),
        "chosen": pa.string(),
        "rejected": pa.string(),
        "images": pa.list_(PICTURE),
        "rejected_images": pa.list_(PICTURE),
        "weight": pa.float64(),
        "similarity": pa.float64(),
        "passed": pa.int64(),
        "origin": pa.string(),
    }
)


def row(example: ResponseExample, negative: ImageSource, similarity: float, passed: int) -> Mapping[str, Any]:
    """A preference with the picture to compare with; of several responses the best and the worst."""
    return {
        "prompt": [{"role": turn["role"], "content": [_part(part) for part in turn["content"]]} for turn in example.turns],
        "chosen": example.responses[0],
        "rejected": example.responses[-1],
        "images": files(example.images, "png"),
        "rejected_images": files([negative], "png"),
        "weight": example.weight,
        "similarity": similarity,
        "passed": passed,
        "origin": example.origin,
    }


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": part["type"], "text": part.get("text")}
