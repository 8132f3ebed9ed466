"""What a terminal shows of pictures that were drawn."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmalign.scoring.terminal import aligned, cut

NAME = 40
"""Columns of the screen that a model's name takes at most."""


def told(out: Path) -> str:
    """A line per model: pictures or clips, their sizes in pixels and bytes, how many are not fit for use; and where they are.

    Args:
        out: a folder that ``mmalign generate`` wrote.
    """
    files = sorted(out.glob("part-*.parquet"))
    wanted = ["model", "prompt_id", "width", "height", "error"]
    films = "frames" in pq.read_schema(files[0]).names
    table = pa.concat_tables([pq.read_table(file, columns=[*wanted, "frames"] if films else wanted) for file in files])
    what = "clips" if films and not table["frames"].null_count else "clips and pictures" if films else "pictures"
    head = ["model", what, "prompts", "pixels", *(["frames"] if films else []), "without use"]
    rows = [_row(title, table.filter(pc.equal(table["model"], title))) for title in pc.unique(table["model"]).to_pylist()]
    size = sum(file.stat().st_size for file in files)
    below = f"{len(table):,} {what} in {len(files):,} file{'s' * (len(files) != 1)}, {size_of(size)}"
    return "\n".join([*aligned([head, *rows], left=(0,)), "", below, str(out)])


def _row(title: str, table: pa.Table) -> list[str]:
    sizes = zip(table["width"].to_pylist(), table["height"].to_pylist(), strict=True)
    pixels = _one({f"{width}x{height}" for width, height in sizes})
    frames = [_one({str(count or "-") for count in table["frames"].to_pylist()})] if "frames" in table.column_names else []
    prompts = pc.count_distinct(table["prompt_id"]).as_py()
    bad = len(table) - table["error"].null_count
    return [cut(title, NAME, end=True), f"{len(table):,}", f"{prompts:,}", pixels, *frames, f"{bad:,}"]


def _one(values: set[str]) -> str:
    return values.pop() if len(values) == 1 else "several"


def size_of(count: float) -> str:
    """Bytes in a unit that leaves three digits.

    >>> size_of(1_234_567)
    '1.23 MB'
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"
