"""What people said about the images of a prompt, whatever format it came in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmalign.data import Example, Examples
from mmalign.errors import UserError

USUAL_SOURCES = ("classification", "model_0", "model_1")


@dataclass(frozen=True)
class Ranking:
    """People's scores of K images of one prompt, higher is better, equal where they saw no difference.

    Attributes:
        human: K numbers whose order alone counts.
        sources: the values that the ranking counts under in tables by source, such as the models that drew the images.
    """

    prompt: str
    human: tuple[float, ...]
    sources: tuple[str, ...] = ()


def human_scores(example: Example) -> tuple[float, ...]:
    """The order of an example's images as numbers, (K,): of a pair by its label, of a longer ranking by its scores where it has some."""
    count = len(example.images)
    if count == 2:
        return (0.0, 0.0) if example.preference == 0.5 else (1.0, 0.0)
    return tuple(float(count - place) for place in range(count)) if example.scores is None else example.scores


def sources(examples: Examples, by: Sequence[str]) -> list[tuple[str, ...]]:
    """For each example the values it has in some columns, each once; none for an empty cell.

    With the two models of Pick-a-Pic's pairs, a pair counts under both.

    Raises:
        UserError: there is no such column, or it tells the images of one prompt apart.
    """
    columns = [[_single(name, cell, examples.source) for cell in examples.column(name)] for name in by]
    return [tuple(dict.fromkeys(value for value in cells if value)) for cells in zip(*columns, strict=True)] or [()] * len(examples)


def usual_sources(examples: Examples) -> list[str]:
    """The columns by which the published sets are told apart, as far as they are there."""
    return [name for name in USUAL_SOURCES if name in examples.columns]


def _single(name: str, cell: Any, source: str) -> str:
    values = set(map(str, cell)) if isinstance(cell, list | tuple) else {"" if cell is None else str(cell)}
    if len(values) > 1:
        raise UserError(f"{source}: column {name!r} has several values for the images of one prompt; give a column with one value for all")
    return next(iter(values), "")
