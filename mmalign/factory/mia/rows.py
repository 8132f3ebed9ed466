"""The rows that ``mmalign data mia`` writes: the columns of MIA-DPO's published sets, and what is known of each answer."""

import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from mmalign.factory.encode import JPEG_QUALITY
from mmalign.factory.mia.mining import Mined
from mmalign.images import ImageSource

NUMBERS = ("share", "threshold", "perplexity", "length_ratio", "distance")
"""Fields of ``Measures`` that are columns."""
PICTURE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
COLUMNS = {
    **dict.fromkeys(("id", "prompt", "chosen", "rejected", "gt"), pa.string()),
    "image": pa.list_(PICTURE),
    **dict.fromkeys(("kind", "question", "origin"), pa.string()),
    **dict.fromkeys(("pictures", "target"), pa.int64()),
    **dict.fromkeys(NUMBERS, pa.float64()),
}
_NAMES = {pa.string(): "string", pa.int64(): "int64", pa.float64(): "float64"}


def schema(columns: Mapping[str, pa.DataType] = COLUMNS, **facts: Any) -> pa.Schema:
    """Columns of which `datasets` opens the lists of pictures as such, with further facts in the metadata."""
    features = {
        name: {"feature": {"_type": "Image"}, "_type": "List"} if kind == pa.list_(PICTURE) else {"dtype": _NAMES[kind], "_type": "Value"}
        for name, kind in columns.items()
    }
    told = {"huggingface": {"info": {"features": features}}, **facts}
    return pa.schema(columns, metadata={name: json.dumps(fact) for name, fact in told.items()})


def row(one: Mined, image_format: str) -> dict[str, Any]:
    """A kept answer."""
    assert one.made is not None
    assert one.measures is not None
    return {
        "id": f"{one.asked.name or one.request.row}_{one.request.kind}",
        "prompt": one.made.prompt(),
        "chosen": one.asked.answer,
        "rejected": one.rejected,
        "gt": one.asked.answer,
        "image": files(one.sources or one.made.images, image_format),
        "kind": one.request.kind,
        "question": one.asked.question,
        "origin": one.asked.origin,
        "pictures": one.request.count,
        "target": one.made.target + 1 if one.made.box is None else None,
        **{name: getattr(one.measures, name) for name in NUMBERS},
    }


def files(sources: Sequence[ImageSource], image_format: str) -> list[dict[str, Any]]:
    """Pictures as records of `datasets`: what is a file already stays as it is."""
    return [{"bytes": content(source, image_format), "path": None} for source in sources]


def content(source: ImageSource, image_format: str) -> bytes:
    """A picture as the content of a file: png or jpeg where it is none yet."""
    if isinstance(source, Path):
        return source.read_bytes()
    if not isinstance(source, Image.Image):
        return source
    buffer = BytesIO()
    options = {"quality": JPEG_QUALITY, "subsampling": 0} if image_format == "jpeg" else {}
    source.convert("RGB").save(buffer, format=image_format.upper(), **options)
    return buffer.getvalue()
