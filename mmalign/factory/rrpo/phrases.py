"""The phrases in which a right and a wrong answer differ: from tags, from offsets, or from the words themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmalign.data.response_readers.rrpo import TAG, untagged
from mmalign.errors import UserError
from mmalign.vlm.edits import Span, differing

OFFSETS = ("answer_phrases", "pred_phrases")
"""Columns of characters [[start, stop], ...] in the right and in the wrong answer."""


@dataclass(frozen=True)
class Pair:
    """A right and a wrong answer with the characters (start, stop) of their phrases; none where they do not differ in words."""

    chosen: str
    rejected: str
    spans: tuple[tuple[Span, ...], tuple[Span, ...]]

    @property
    def marked(self) -> bool:
        """Whether both have phrases, which RRPO's loss compares."""
        return all(self.spans)


def paired(chosen: str, rejected: str, how: str = "auto", cells: Mapping[str, Any] | None = None, origin: str = "a row") -> Pair:
    """Two answers with their phrases.

    Args:
        chosen, rejected: the answers, with or without tags.
        how: tags, offsets, alignment, or auto: the first of these that there is.
        cells: of the row, which may have offsets.
        origin: of the row, for messages.

    Raises:
        UserError: tags do not pair, or offsets are no characters of the answers, or are asked for and not there.
    """
    told = [untagged(text, origin) for text in (chosen, rejected)]
    (one, first), (two, second) = told
    if how in ("auto", "tags") and any(TAG.search(text) for text in (chosen, rejected)):
        return Pair(one, two, (first, second))
    if how == "tags":
        raise UserError(f"{origin} has no tags <MASK> in its answers; add them, or say phrases alignment")
    given = [(cells or {}).get(column) for column in OFFSETS]
    if how in ("auto", "offsets") and all(value is not None for value in given):
        spans = [_offsets(value, text, origin) for value, text in zip(given, (chosen, rejected), strict=True)]
        return Pair(chosen, rejected, (spans[0], spans[1]))
    if how == "offsets":
        raise UserError(f"{origin} has no columns {' and '.join(OFFSETS)}; add them, or say phrases alignment")
    return Pair(one, two, differing(one, two))


def tagged(text: str, spans: Sequence[Span]) -> str:
    """A text with tags around its phrases.

    >>> tagged("a red circle", [(2, 5)])
    'a <MASK>red</MASK> circle'
    """
    parts, last = [], 0
    for start, stop in spans:
        parts += [text[last:start], "<MASK>", text[start:stop], "</MASK>"]
        last = stop
    return "".join([*parts, text[last:]])


def _offsets(value: Any, text: str, origin: str) -> tuple[Span, ...]:
    """Checked characters of phrases, blanks at their ends left out."""
    try:
        spans = [(int(start), int(stop)) for start, stop in value]
    except (TypeError, ValueError) as error:
        raise UserError(f"{origin}: offsets of phrases are {value!r}; write them as [[start, stop], ...]") from error
    ends = [place for span in spans for place in span]
    if ends != sorted(ends) or any(not 0 <= start < stop <= len(text) for start, stop in spans):
        raise UserError(f"{origin}: offsets of phrases {value!r} are no parts of {text!r} in order; correct the row or leave it out")
    return tuple((start, stop) for start, stop in (_trimmed(text, *span) for span in spans) if start < stop)


def _trimmed(text: str, start: int, stop: int) -> Span:
    part = text[start:stop]
    return start + len(part) - len(part.lstrip()), start + len(part.rstrip())
