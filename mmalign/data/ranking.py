"""What readers of rankings share: several images of a prompt with a number for each."""

from collections.abc import Iterator
from typing import Any

from mmalign.data.reader import Verdict
from mmalign.data.rows import Row
from mmalign.data.schema import Example
from mmalign.data.tables import Table
from mmalign.errors import UserError


def ranking_verdicts(table: Table, column: str) -> Iterator[Verdict]:
    """Of rankings that are sorted by their numbers when read: a tie where two or more images all have the same number.

    Raises:
        UserError: a cell of the column is no list of numbers.
    """
    for index, cell in enumerate(table.column(column)):
        numbers = Row({column: cell}, table.origin(index)).numbers(column)
        yield 0.5 if len(numbers) > 1 and len(set(numbers)) == 1 else 1.0


def sorted_example(row: Row, prompt: str, images: str, numbers: str, lower_is_better: bool, **facts: Any) -> Example:
    """The row as an example with its images sorted, the best first; equal ones stay in the order of the row.

    Args:
        prompt, images, numbers: the columns.
        lower_is_better: the numbers are ranks, which become scores with the sign turned.
        facts: what else the row says, as in ``Example``.

    Raises:
        UserError: a cell is not what it should be, or there is not one number for each image.
    """
    sources, values = row.images(images), row.numbers(numbers)
    if len(sources) != len(values):
        raise UserError(f"{row.origin}: {len(sources)} images but {len(values)} scores in {numbers!r}; give one score for each image")
    scores = tuple(-value for value in values) if lower_is_better else values
    order = sorted(range(len(scores)), key=lambda k: -scores[k])
    return Example(
        prompt=row.text(prompt),
        images=tuple(sources[k] for k in order),
        scores=tuple(scores[k] for k in order),
        origin=row.origin,
        **facts,
    )
