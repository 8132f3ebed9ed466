"""The table of scores, as a schema and as a file."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmalign.files import whole_file
from mmalign.reward import Reward

ROWS_AT_ONCE = 4096


def schema(rewards: Mapping[str, Reward], judged: int | None = None) -> pa.Schema:
    """Number, image, prompt, a float32 per reward, error; what each reward is stands in the metadata under ``mmalign.rewards``.

    Args:
        judged: frames of a clip that were scored, which stands there under ``mmalign.judged_frames``; None = there are no clips.
    """
    scores = [(title, pa.float32()) for title in rewards]
    text = pa.string()
    fields = [("index", pa.int64()), ("image", text), ("prompt", text), *scores, ("error", text)]
    metadata = {"mmalign.rewards": json.dumps({title: facts(reward) for title, reward in rewards.items()})}
    return pa.schema(fields, metadata=metadata if judged is None else {**metadata, "mmalign.judged_frames": str(judged)})


def to_table(rows: Sequence[Mapping[str, Any]], form: pa.Schema) -> pa.Table:
    """Rows as a table. What no UTF-8 can say, as in odd file names, becomes a question mark."""
    return pa.Table.from_pylist([{name: _clean(value) for name, value in row.items()} for row in rows], schema=form)


def facts(reward: Reward) -> dict[str, Any]:
    """What a reader of a score should know, as JSON can say it: a range without end is None there."""
    bounds = [None if math.isinf(bound) else bound for bound in reward.range]
    return {name: getattr(reward, name) for name in ("unit", "higher_is_better", "licence", "source")} | {"range": bounds}


def write_table(table: pa.Table, path: Path) -> None:
    """Writes Parquet, CSV or JSON Lines by the file's ending, whole or not at all.

    Numbers are written with as many digits as tell float32 apart; a missing one is null, in CSV an empty cell.
    """
    writers = {".parquet": _parquet, ".csv": _csv, ".jsonl": _json_lines}
    with whole_file(path) as file:
        writers[path.suffix.lower()](table, file)


def _parquet(table: pa.Table, file: Any) -> None:
    pq.write_table(table, file)


def _csv(table: pa.Table, file: Any) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.DictWriter(text, table.column_names)
    writer.writeheader()
    for batch in table.to_batches(ROWS_AT_ONCE):
        writer.writerows(_short(row) for row in batch.to_pylist())
    text.detach()  # which flushes, and leaves the file open for its owner


def _json_lines(table: pa.Table, file: Any) -> None:
    for batch in table.to_batches(ROWS_AT_ONCE):
        file.write("".join(json.dumps(_short(row), ensure_ascii=False) + "\n" for row in batch.to_pylist()).encode())


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row in which 0.1, and not 0.10000000149011612, stands for the float32 nearest to 0.1."""
    return {name: float(str(np.float32(value))) if isinstance(value, float) else value for name, value in row.items()}


def _clean(value: Any) -> Any:
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value
