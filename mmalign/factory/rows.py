"""The rows that ``mmalign generate`` writes."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from mmalign.config.generate import FPS, GenerateConfig
from mmalign.factory.requests import Request, prompt_id

BLOCKED = "replaced by the model's safety checker"
NO_NUMBERS = "the model gave no numbers"

COLUMNS = {
    "row": pa.int64(),
    "prompt": pa.string(),
    "prompt_id": pa.string(),
    "model": pa.string(),
    "seed": pa.int64(),
    "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
    "width": pa.int32(),
    "height": pa.int32(),
    "noise_seed": pa.int64(),
    "call": pa.string(),
    "error": pa.string(),
}
OF_CLIPS = {"frames": pa.int32(), "fps": pa.float64()}
"""Columns that are there where a model draws films."""
_NAMES = {pa.int64(): "int64", pa.int32(): "int32", pa.string(): "string", pa.float64(): "float64"}


def schema(config: GenerateConfig, films: bool = False) -> pa.Schema:
    """The columns; `datasets` opens the images as such. How they were drawn stands in the metadata under ``mmalign.generate``.

    Args:
        films: whether a model draws films.
    """
    drawn = config.model_dump(mode="json", exclude={"out", "overwrite", "prompts", "limit"}, exclude_defaults=True)
    columns = {**COLUMNS, **(OF_CLIPS if films else {})}
    image = "Video" if config.image_format == "mp4" else "Image"
    features = {
        name: {"_type": image} if pa.types.is_struct(kind) else {"dtype": _NAMES[kind], "_type": "Value"} for name, kind in columns.items()
    }
    facts = {"huggingface": {"info": {"features": features}}, "mmalign.generate": drawn}
    return pa.schema(columns, metadata={name: json.dumps(fact) for name, fact in facts.items()})


class Rows:
    """Makes rows of pictures.

    Args:
        config: whose models the rows name.
        calls: the arguments of each model's call.
    """

    def __init__(self, config: GenerateConfig, calls: Sequence[Mapping[str, Any]]):
        self._fps = config.fps or FPS
        self._titles = [model.title for model in config.models]
        self._calls = [json.dumps(call, sort_keys=True, ensure_ascii=False) for call in calls]

    def row(self, request: Request, image: bytes, shape: Sequence[int], error: str | None) -> Mapping[str, Any]:
        """A row.

        Args:
            request: what was drawn.
            image: the file of the picture, or of the clip.
            shape: (3, height, width) in pixels, of a clip with the number of frames before them.
            error: what is wrong with the picture.
        """
        of_clip = {"frames": shape[0], "fps": self._fps} if len(shape) == 4 else {}
        return {
            "row": request.row,
            "prompt": request.prompt,
            "prompt_id": prompt_id(request.prompt),
            "model": self._titles[request.model],
            "seed": request.seed,
            "image": {"bytes": image, "path": None},
            "width": shape[-1],
            "height": shape[-2],
            "noise_seed": request.noise_seed,
            "call": self._calls[request.model],
            "error": error,
            **of_clip,
        }
