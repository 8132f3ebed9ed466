"""What a reader of responses is: the columns of one format, and what they say."""

from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmalign.data.responses.schema import ResponseExample
from mmalign.data.rows import Row, absent
from mmalign.errors import UserError
from mmalign.images import ImageSource


class ResponseReader(ABC):
    """A format: a frozen dataclass whose fields hold the names of its columns, so that a user can rename them."""

    @property
    @abstractmethod
    def needs(self) -> tuple[str, ...]:
        """The columns a source must have."""

    @abstractmethod
    def example(self, row: Row) -> ResponseExample:
        """A row as an example."""


def pictures(row: Row, *columns: str) -> tuple[ImageSource, ...]:
    """The pictures of the first of some columns that is not empty: a list, or one alone; none where all are empty.

    Raises:
        UserError: a cell holds something else.
    """
    for column in columns:
        value = row.cells.get(column)
        if isinstance(value, list | tuple):
            if value:
                return row.images(column)
        elif not absent(value) and value != "":
            return (row.image(column),)
    return ()


def films(row: Row, *columns: str) -> tuple[Path | tuple[ImageSource, ...], ...]:
    """The films of the first of some columns that is not empty: paths of files or folders, or lists of frames.

    Raises:
        UserError: a cell holds something else.
    """
    for column in columns:
        value = row.cells.get(column)
        if absent(value) or value in ("", [], ()):
            continue
        values: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
        return tuple(_film(row, column, one) for one in values)
    return ()


def _film(row: Row, column: str, value: Any) -> Path | tuple[ImageSource, ...]:
    if isinstance(value, list | tuple):
        return replace(row, cells={column: value}).images(column)
    if not isinstance(value, str | Path):
        raise UserError(f"{row.origin}: column {column!r} holds no path of a film, nor its frames; correct the row or leave it out")
    return (row.folder or Path()) / value
