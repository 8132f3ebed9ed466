"""Votes as a file of preferences that ``mmalign train`` and others' scripts read."""

from pathlib import Path
from typing import Any

from mmalign.data.votes_table import VotesTable
from mmalign.errors import UserError
from mmalign.files import whole_file

ROWS_PER_GROUP = 32


def export(votes: Path, out: Path, kind: str = "pictures") -> int:
    """Writes votes as Parquet with Pick-a-Pic's columns (pictures) or TRL's (answers); gives the number of rows.

    Pictures are those of the round, losslessly. The left one is jpg_0, as it stood.

    Raises:
        UserError: there is no such vote, or the place cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = VotesTable(votes, kind)
    if not len(table):
        raise UserError(f"{votes} holds no votes on {kind} that could be written; vote first")
    schema = _schema(pa, table)
    with whole_file(out) as file, pq.ParquetWriter(file, schema) as writer:
        for start in range(0, len(table), ROWS_PER_GROUP):
            rows = [dict(table.cells(index)) for index in range(start, min(start + ROWS_PER_GROUP, len(table)))]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    return len(table)


def _schema(pa: Any, table: VotesTable) -> Any:
    kinds = {
        "jpg_0": pa.binary(),
        "jpg_1": pa.binary(),
        "images": pa.list_(pa.binary()),
        "label_0": pa.float64(),
        "label_1": pa.float64(),
        "has_label": pa.bool_(),
        "are_different": pa.bool_(),
    }
    return pa.schema({name: kinds.get(name, pa.string()) for name in table.columns})
