"""Writing preferences as one Parquet file: pairs with Pick-a-Pic's columns, rankings with those of the reader ``ranked``."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmalign.data.apng import clip_file
from mmalign.data.films import is_clip, sampled
from mmalign.data.schema import Example
from mmalign.errors import UserError
from mmalign.files import whole_file
from mmalign.images import ImageSource, open_image

PICTURES = ("jpg_0", "jpg_1", "images")
KEPT = ("PNG", "JPEG", "WEBP")
"""Formats of images that are written as they are."""
ORIENTATION = 0x0112
"""EXIF's number of the key that turns an image."""
ROWS_PER_GROUP, BYTES_PER_GROUP = 32, 1 << 28
"""A row read at random costs at most so many, or the rows before it that have so many bytes of images in all."""


def write_pickapic(examples: Iterable[Example], path: str | Path, seed: int = 0, shared: bool = False) -> int:
    """Writes pairs with the columns of Pick-a-Pic and ``score_0, score_1, weight, user_id, ranking_id``; gives their number.

    The file appears whole or not at all, and takes the place of one of that name. Memory holds 32 pairs. Images are written as PNG, or as
    they are where they are RGB pictures in PNG, JPEG or WebP; clips as they are.

    Args:
        seed: decides for each row whether the preferred image is jpg_0 or jpg_1, so that the place says nothing about the label.
        shared: neighboring rows have images in common, as where many people judge the same ones: of 32 rows an image is written once
            per column.

    Raises:
        UserError: an example is no pair, an image is broken, there are no examples, the disk is full or the place cannot be written.
    """
    return _write(examples, path, pickapic_schema(), lambda part, first: pickapic_table(part, seed, first), shared)


def write_ranked(examples: Iterable[Example], path: str | Path) -> int:
    """Writes rankings with the columns ``prompt, images, scores, weight, user_id``; gives their number.

    The file appears whole or not at all, and takes the place of one of that name. Memory holds 32 rankings, with images as
    ``write_pickapic`` writes them.

    Raises:
        UserError: an example has no scores, an image is broken, there are no examples, the disk is full or the place cannot be written.
    """
    return _write(examples, path, ranked_schema(), lambda part, first: ranked_table(part))


def pickapic_table(examples: Sequence[Example], seed: int = 0, first: int = 0) -> Any:
    """Pairs as a table with the columns that ``write_pickapic`` writes.

    Args:
        seed: as there.
        first: number of the first pair.

    Raises:
        UserError: an example is no pair, or an image is broken.
    """
    import pyarrow as pa

    rows = [_row(example, turned(seed, first + k)) for k, example in enumerate(examples)]
    return pa.Table.from_pylist(rows, schema=pickapic_schema())


def ranked_table(examples: Sequence[Example]) -> Any:
    """Rankings as a table with the columns that ``write_ranked`` writes. Raises UserError as that does."""
    import pyarrow as pa

    return pa.Table.from_pylist([_ranked(example) for example in examples], schema=ranked_schema())


def turned(seed: int, row: int) -> bool:
    """Whether the preferred image of a pair stands second: one coin for each (seed, row), so that a part of the rows falls as it would
    among all."""
    return bool(np.random.default_rng((seed, row)).random() < 0.5)


def _write(
    examples: Iterable[Example], path: str | Path, schema: Any, table: Callable[[Sequence[Example], int], Any], shared: bool = False
) -> int:
    import pyarrow.parquet as pq

    rest, count = iter(examples), 0
    small = [name for name in schema.names if name not in PICTURES]
    options = {"compression": {name: "SNAPPY" if name in small else "NONE" for name in schema.names}}  # a PNG is compressed already
    options |= {"use_dictionary": shared or small, "write_page_checksum": True}
    with whole_file(path) as file, pq.ParquetWriter(file, schema, **options) as writer:
        while part := _group(rest):
            writer.write_table(table(part, count))
            count += len(part)
        if not count:
            raise UserError(f"there are no preferences to write to {path}; give at least one")
    return count


def _group(rest: Iterator[Example]) -> list[Example]:
    """The next rows that are written together: fewer where their images, which may be clips, are large."""
    part, size = [], 0
    while len(part) < ROWS_PER_GROUP and size < BYTES_PER_GROUP and (example := next(rest, None)) is not None:
        part.append(example)
        size += sum(len(source) for source in example.images if isinstance(source, bytes))
    return part


def _ranked(example: Example) -> dict[str, Any]:
    if example.scores is None:
        raise UserError(f"{example.origin or 'an example'} has no scores; these columns hold rankings, which are read from their scores")
    return {
        "prompt": example.prompt,
        "images": [_file(source, example.origin) for source in example.images],
        "scores": list(example.scores),
        "weight": example.weight,
        "user_id": example.user_id,
    }


def ranked_schema() -> Any:
    """The columns of rankings."""
    import pyarrow as pa

    number, text = pa.float64(), pa.string()
    return pa.schema({"prompt": text, "images": pa.list_(pa.binary()), "scores": pa.list_(number), "weight": number, "user_id": text})


def pickapic_schema() -> Any:
    """The columns of pairs."""
    import pyarrow as pa

    number, text = pa.float64(), pa.string()
    kinds = {"caption": text, "jpg_0": pa.binary(), "jpg_1": pa.binary(), "label_0": number, "label_1": number}
    return pa.schema(kinds | {"score_0": number, "score_1": number, "weight": number, "user_id": text, "ranking_id": text})


def _row(example: Example, turned: bool) -> dict[str, Any]:
    if len(example.images) != 2:
        raise UserError(
            f"{example.origin or 'an example'} has {len(example.images)} images; these columns hold pairs, so choose two of them"
        )
    images = [_file(source, example.origin) for source in example.images]
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


def _file(source: ImageSource, origin: str) -> bytes:
    """The image or clip as the content of a file. One that is kept as it is has been opened all the same: a broken one is told now."""
    if is_clip(source):
        sampled(source, 1, origin)
        return clip_file(source, origin)
    image = open_image(source, origin)
    if isinstance(source, bytes) and _plain(source):
        return source
    buffer = BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _plain(content: bytes) -> bool:
    """Whether a file's content is all there is to an image: RGB, still, upright, nothing transparent, of a common format."""
    with Image.open(BytesIO(content)) as image:
        if image.format not in KEPT or image.mode != "RGB" or "transparency" in image.info:
            return False
        return image.getexif().get(ORIENTATION, 1) == 1 and not getattr(image, "is_animated", False)
