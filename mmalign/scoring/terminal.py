"""Text in the columns of a terminal."""

import unicodedata
from collections.abc import Collection, Sequence

GAP = 2
"""Blanks between two columns of a table."""


def width_of(text: str) -> int:
    """How many columns of a terminal a text takes: two for a Chinese letter, none for an accent of its own.

    >>> width_of("a\\u4e2de\\u0301")
    4
    """
    return sum(0 if unicodedata.category(letter) in ("Mn", "Me") else 1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text)


def plain(text: str) -> str:
    """A text in one line, without what would steer the terminal or turn its writing round.

    >>> plain("two\\nlines, \\x1b[31mred")
    'two lines, ?[31mred'
    """
    letters = (letter for letter in " ".join(text.split()) if unicodedata.category(letter) != "Cf")
    return "".join(letter if letter.isprintable() else "?" for letter in letters)


def cut(text: str, size: int, end: bool) -> str:
    """One line of a text, its end or its beginning left out: of a path the end tells."""
    line = plain(text)
    if width_of(line) <= size:
        return line
    while width_of(line) > size - 3:
        line = line[:-1] if end else line[1:]
    return f"{line}..." if end else f"...{line}"


def aligned(rows: Sequence[Sequence[str]], left: Collection[int]) -> list[str]:
    """Lines of a table whose first row is its head, with a rule below it; columns in ``left`` stand to the left, others to the right."""
    widths = [max(map(width_of, column)) for column in zip(*rows, strict=True)]
    lines = [(" " * GAP).join(_filled(cell, widths[place], place in left) for place, cell in enumerate(row)) for row in rows]
    return [line.rstrip() for line in [lines[0], "-" * width_of(lines[0]), *lines[1:]]]


def _filled(cell: str, width: int, left: bool) -> str:
    blank = " " * (width - width_of(cell))
    return cell + blank if left else blank + cell
