"""Rows that cannot be used, told together: who repairs them wants to know of all, and not of one after each hour."""

import logging
from collections.abc import Iterator, Sequence
from typing import Literal, TypeVar

from mmalign.errors import UserError

logger = logging.getLogger(__name__)
Read = TypeVar("Read")

NAMED, LISTED = 3, 50
"""Rows that an error names, and a warning lists."""


def refuse_broken(sentences: Sequence[str], total: int) -> None:
    """Raises UserError where there are sentences, each about a row that is broken, with their number and the first of them.

    Args:
        sentences: as ``UserError`` says them, with a remedy at the end.
        total: rows that were looked at.
    """
    if len(sentences) == 1:
        raise UserError(sentences[0])
    if sentences:
        remedy = "replace them (`mmalign data inspect SOURCE --all` lists all), or leave such rows out with on_broken='skip'"
        raise UserError(f"{len(sentences):,} of {total:,} rows are broken: {first_of(sentences)}; {remedy}")


def settle_broken(sentences: Sequence[str], total: int, on_broken: Literal["raise", "skip"], tell: bool = True) -> None:
    """Refuses rows that are broken, or counts and names them in a warning where they are to be skipped.

    Args:
        sentences, total: as in ``refuse_broken``.
        on_broken: what the configuration says.
        tell: warn; of several processes that saw the same, one does.

    Raises:
        UserError: there are sentences, and ``on_broken`` is "raise".
    """
    if on_broken == "raise":
        refuse_broken(sentences, total)
    elif sentences and tell:
        logger.warning("left out %s of %s rows that are broken: %s", f"{len(sentences):,}", f"{total:,}", first_of(sentences, LISTED))


def readable(examples: Sequence[Read], broken: list[str]) -> Iterator[tuple[int, Read]]:
    """The examples whose cells can be read, with their places; of the others, ``broken`` takes what is wrong."""
    for place in range(len(examples)):
        try:
            example = examples[place]
        except UserError as error:
            broken.append(str(error))
        else:
            yield place, example


def first_readable(examples: Sequence[Read]) -> Read:
    """The first example whose cells can be read. Raises UserError, that of the first, where there is none."""
    found = next(readable(examples, []), None)
    return examples[0] if found is None else found[1]


def first_of(sentences: Sequence[str], most: int = NAMED) -> str:
    """The first of them without their remedies, and how many more there are."""
    named = "; ".join(sentence.rpartition("; ")[0] or sentence for sentence in sentences[:most])
    return named + (f"; and {len(sentences) - most:,} more" if len(sentences) > most else "")
