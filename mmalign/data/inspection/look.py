"""Looking at a source: all of its labels, prompts and numbers, and the images of some rows or of all."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import fields
from statistics import median
from typing import Any

from tqdm.auto import tqdm

from mmalign.data.detect import choose, fitting
from mmalign.data.examples import Examples
from mmalign.data.inspection.images import look_at
from mmalign.data.inspection.record import Columns, Inspection, Labels, Range
from mmalign.data.reader import Reader, Verdict, pick
from mmalign.data.rows import absent
from mmalign.data.sources import Source, open_source
from mmalign.data.tables import Table
from mmalign.errors import UserError

# the fields of readers by what they name; a reader of a third party is understood where it calls them so
PROMPT = ("caption", "prompt")
USER = ("user_id", "user_hash")
SCORES = ("scores", "rank", "ranking", "score_0", "score_1", "chosen_score", "rejected_score")


def inspect(
    name: str, source: Source | Table, *, split: str | None = None, stream: int | None = None, sample: int | None = 1000, **given: Any
) -> tuple[Inspection, Examples]:
    """What there is to know of a source, and its examples, ties among them as soft labels.

    Args:
        name: a reader, or "auto".
        source, split, stream, given: as in ``mmalign.data.load``; a table that is open already is taken too.
        sample: of how many rows images are decoded, runs of neighbors from all over the source; None = of all.

    Raises:
        UserError: nothing there, wrong columns, or a label that makes no sense; the message names the row.
    """
    table = source if isinstance(source, Table) else open_source(source, split, stream)
    if not len(table):
        raise UserError(f"{table.name} is empty; give a source with at least one row")
    reader = choose(name, table, given)
    rows = reader.arranged(table)
    verdicts = list(tqdm(reader.verdicts(rows), desc="reading labels", unit="row", total=len(rows), delay=1, disable=None, leave=False))
    examples = Examples(rows, reader, *pick(verdicts, "soft"))
    shown = type(reader).__module__.rpartition(".")[2]
    found = Inspection(
        source=table.name,
        kind=table.kind,
        columns=tuple(table.columns),
        reader=shown,
        needs=reader.needs,
        also=tuple(other for other in fitting(table, given) if other != shown),
        rows=len(rows),
        labels=_labels(verdicts, reader.SIDED),
        told=_columns(reader, rows),
        images=look_at(examples, sample),
    )
    return found, examples


def _labels(verdicts: Iterable[Verdict], sided: bool) -> Labels:
    left_out = Counter(verdict for verdict in verdicts if isinstance(verdict, str))
    sure = [verdict for verdict in verdicts if not isinstance(verdict, str)]
    soft = [max(verdict, 1 - verdict) for verdict in sure if verdict not in (0, 0.5, 1)]
    first = sum(verdict > 0.5 for verdict in sure) if sided else None
    return Labels(dict(left_out), sure.count(0.5), len(soft), _range(soft), first, len(sure) - sure.count(0.5))


def _columns(reader: Reader, table: Table) -> Columns:
    prompts = Counter(str(cell) for cell in _cells(reader, table, PROMPT)).values()
    users = _cells(reader, table, USER)
    return Columns(
        prompts=len(prompts),
        median=median(prompts) if prompts else 0,
        most=max(prompts, default=0),
        users=len(set(map(str, users))) if users else None,
        weights=_range(_numbers(_cells(reader, table, ("weight",)))),
        scores=_range(_numbers(_cells(reader, table, SCORES))),
    )


def _cells(reader: Reader, table: Table, names: Iterable[str]) -> list[Any]:
    """What the columns hold that these fields of the reader name, empty cells left out."""
    known = {field.name: getattr(reader, field.name) for field in fields(reader)}  # type: ignore[arg-type]
    columns = [known[name] for name in names if known.get(name) in table.columns]
    return [cell for column in columns for cell in table.column(column) if not absent(cell)]


def _numbers(cells: Iterable[Any]) -> list[float]:
    flat = (value for cell in cells for value in (cell if isinstance(cell, list | tuple) else [cell]))
    return [float(value) for value in flat if isinstance(value, int | float)]


def _range(values: list[float]) -> Range | None:
    return (min(values), max(values)) if values else None
