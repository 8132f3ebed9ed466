"""Examples read when asked for: what a training run holds instead of the images."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from tqdm.auto import tqdm

from mmalign import plugins
from mmalign.data.broken import first_of
from mmalign.data.digest import digest
from mmalign.data.films import check
from mmalign.data.reader import Reader, Ties, pick
from mmalign.data.rows import exists
from mmalign.data.schema import Example
from mmalign.data.tables import Table
from mmalign.errors import UserError
from mmalign.prefetch import cores, prefetch

logger = logging.getLogger(__name__)


class Examples(Sequence[Example]):
    """A sequence of examples over a table. Memory holds 25 bytes an example; images are read at ``[i]`` and decoded by ``open_image``.

    Attributes:
        reader: how the columns are understood.
        dropped: how many rows were left out, by reason ("tie", "no label", "broken image", ...).
        broken: a sentence for each row left out because of a broken image.
    """

    def __init__(self, table: Table, reader: Reader, picks: np.ndarray, dropped: Counter[str], broken: tuple[str, ...] = ()):
        self._table, self.reader, self._picks = table, reader, picks
        self.dropped, self.broken = dropped, broken

    def __len__(self) -> int:
        return len(self._picks)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> "Examples": ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            return Examples(self._table, self.reader, self._picks[index], self.dropped, self.broken)
        row, reverse, weight, preference = self._picks[index].item()
        stored = self.reader.candidates(self._table.row(row))
        images, scores = stored.images, stored.scores
        if reverse:
            images, scores = images[::-1], scores and scores[::-1]
        return replace(stored, images=images, scores=scores, weight=stored.weight * weight, preference=preference)

    def column(self, name: str) -> list[Any]:
        """What a column of the source holds for each example, for columns of text and numbers.

        Raises:
            UserError: there is no such column; the message names the nearest.
        """
        if name not in self._table.columns:
            raise UserError(f"{self._table.name} has no column {name!r}; {plugins.nearest(name, list(self._table.columns))}")
        cells = self._table.column(name)
        return [cells[row] for row in self._picks["row"].tolist()]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the source."""
        return self._table.columns

    @property
    def source(self) -> str:
        """What messages call the source."""
        return self._table.name

    def cheap_start(self, index: int) -> int:
        """An example near this one, not after it, from which reading in order costs least."""
        row = self._table.cheap_start(int(self._picks["row"][index]))
        return min(index, int(np.searchsorted(self._picks["row"], row)))

    def digest(self) -> str:
        """Tells sets apart by which rows they hold, in which order, and how these are labeled; images are not read."""
        return digest(self._picks.tobytes())

    def check_first(self) -> "Examples":
        """The same, once its first example could be read; its images are looked for but not decoded.

        Raises:
            UserError: a cell is not what the reader takes it for, or a file is missing, as with a wrong folder all are.
        """
        first = self[0]
        for image in first.images:
            if isinstance(image, Path) and not exists(image):
                raise UserError(f"{first.origin}: the image {image} does not exist; {self._start_of_paths()}")
        return self

    def _start_of_paths(self) -> str:
        return "paths start from the folder of the data file" + (
            ", or from the reader's image_folder in it" if hasattr(self.reader, "image_folder") else ""
        )

    def without_broken(self) -> "Examples":
        """The same without the rows that have an image that cannot be read; decodes every image once."""
        bad = dict(broken_rows(self, desc="checking images"))
        if not bad:
            return self
        said = f"left out {len(bad):,} of {len(self._table):,} rows that are broken: {first_of(list(bad.values()))}"
        logger.warning("%s: %s", self._table.name, said)
        kept = self._picks[~np.isin(self._picks["row"], list(bad))]
        return Examples(self._table, self.reader, kept, self.dropped + Counter({"broken image": len(bad)}), tuple(bad.values()))

    def rows(self) -> Iterator[tuple[int, Example | UserError]]:
        """Each row of the source that gives examples, once and in its order, with its first example, or what is wrong with it."""
        seen = -1
        for index, row in enumerate(self._picks["row"].tolist()):
            if row != seen:
                seen = row
                try:
                    yield row, self[index]
                except UserError as error:
                    yield row, error


def broken_rows(examples: Examples, desc: str) -> Iterator[tuple[int, str]]:
    """Rows of the source with a broken cell or an image or a clip that cannot be read, with a sentence for each; decodes every one once.

    Rows are read in order and decoded in threads; a bar is shown on a terminal once it takes more than two seconds.
    """
    bar = tqdm(examples.rows(), desc=desc, unit="row", total=len(examples), delay=2, disable=None)
    for row, complaint in prefetch(_complaint, bar, workers=cores(), ahead=2 * cores()):
        if complaint:
            yield row, complaint


def _complaint(item: tuple[int, Example | UserError]) -> tuple[int, str]:
    row, example = item
    if isinstance(example, UserError):
        return row, str(example)
    try:
        for image in example.images:
            check(image, example.origin)
    except UserError as error:
        return row, str(error)
    return row, ""


def read(table: Table, reader: Reader, ties: Ties) -> Examples:
    """The examples a reader finds in a table.

    Raises:
        UserError: no row gives an example.
    """
    picks, dropped = pick(reader.verdicts(table), ties)
    return require_some(Examples(table, reader, picks, dropped), table)


def require_some(examples: Examples, table: Table) -> Examples:
    """The examples themselves.

    Raises:
        UserError: there is none; the message counts why.
    """
    if len(examples):
        return examples
    reasons = ", ".join(f"{reason}: {count}" for reason, count in examples.dropped.items())
    remedy = "keep ties with ties='soft' or ties='half'" if examples.dropped["tie"] else "give rows that say which image is preferred"
    raise UserError(f"{table.name} has {len(table)} rows but none is left ({reasons}); {remedy}")
