"""Writing preferences as one Parquet file: pairs with Pick-a-Pic's columns, rankings with those of the reader ``ranked``."""

from collections.abc import Callable, Iterable
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mmalign.data.schema import Example
from mmalign.errors import UserError
from mmalign.files import whole_file
from mmalign.images import ImageSource, open_image

PICTURES = ("jpg_0", "jpg_1", "images")
ROWS_PER_GROUP = 32
"""A row read at random costs at most so many."""


def write_pickapic(examples: Iterable[Example], path: str | Path, seed: int = 0) -> int:
    """Writes pairs as PNG with the columns of Pick-a-Pic and ``score_0, score_1, weight, user_id, ranking_id``; gives their number.

    The file appears whole or not at all, and takes the place of one of that name. Memory holds 32 pairs.

    Args:
        seed: decides for each row whether the preferred image is jpg_0 or jpg_1, so that the place says nothing about the label.

    Raises:
        UserError: an example is no pair, an image is broken, there are no examples, the disk is full or the place cannot be written.
    """
    return _write(examples, path, _schema(), lambda example, row: _row(example, _turned(seed, row)))


def write_ranked(examples: Iterable[Example], path: str | Path) -> int:
    """Writes rankings as PNG with the columns ``prompt, images, scores, weight, user_id``; gives their number.

    The file appears whole or not at all, and takes the place of one of that name. Memory holds 32 rankings.

    Raises:
        UserError: an example has no scores, an image is broken, there are no examples, the disk is full or the place cannot be written.
    """
    import pyarrow as pa

    number, text = pa.float64(), pa.string()
    columns = {"prompt": text, "images": pa.list_(pa.binary()), "scores": pa.list_(number), "weight": number, "user_id": text}
    return _write(examples, path, pa.schema(columns), lambda example, row: _ranked(example))


def _write(examples: Iterable[Example], path: str | Path, schema: Any, row: Callable[[Example, int], dict[str, Any]]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rest, count = iter(examples), 0
    small = [name for name in schema.names if name not in PICTURES]
    options = {"compression": {name: "SNAPPY" if name in small else "NONE" for name in schema.names}}  # a PNG is compressed already
    options |= {"use_dictionary": small, "write_page_checksum": True}
    with whole_file(path) as file, pq.ParquetWriter(file, schema, **options) as writer:
        while part := list(islice(rest, ROWS_PER_GROUP)):
            rows = [row(example, count + k) for k, example in enumerate(part)]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            count += len(rows)
        if not count:
            raise UserError(f"there are no preferences to write to {path}; give at least one")
    return count


def _ranked(example: Example) -> dict[str, Any]:
    if example.scores is None:
        raise UserError(f"{example.origin or 'an example'} has no scores; these columns hold rankings, which are read from their scores")
    return {
        "prompt": example.prompt,
        "images": [_png(source, example.origin) for source in example.images],
        "scores": list(example.scores),
        "weight": example.weight,
        "user_id": example.user_id,
    }


def _schema() -> Any:
    import pyarrow as pa

    number, text = pa.float64(), pa.string()
    kinds = {"caption": text, "jpg_0": pa.binary(), "jpg_1": pa.binary(), "label_0": number, "label_1": number}
    return pa.schema(kinds | {"score_0": number, "score_1": number, "weight": number, "user_id": text, "ranking_id": text})


def _turned(seed: int, row: int) -> bool:
    # one coin for each (seed, row), so that a part of the rows falls as it would among all
    return bool(np.random.default_rng((seed, row)).random() < 0.5)


def _row(example: Example, turned: bool) -> dict[str, Any]:
    if len(example.images) != 2:
        raise UserError(
            f"{example.origin or 'an example'} has {len(example.images)} images; these columns hold pairs, so choose two of them"
        )
    images = [_png(source, example.origin) for source in example.images]
    labels = [example.preference, 1 - example.preference]
    scores = list(example.scores or (None, None))
    first, second = (1, 0) if turned else (0, 1)
    return {
        "caption": example.prompt,
        "jpg_0": images[first],
        "jpg_1": images[second],
        "label_0": labels[first],
        "label_1": labels[second],
        "score_0": scores[first],
        "score_1": scores[second],
        "weight": example.weight,
        "user_id": example.user_id,
        "ranking_id": example.ranking_id,
    }


def _png(source: ImageSource, origin: str) -> bytes:
    buffer = BytesIO()
    open_image(source, origin).save(buffer, format="PNG")
    return buffer.getvalue()
