"""How far two answers are from each other, in characters, and in which words."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

import numpy as np

WORD = re.compile(r"\w+(?:['’.,:-]\w+)*")
"""A word or a number; signs between words are none."""

Span = tuple[int, int]
"""Characters (start, stop)."""


def plain(text: str) -> str:
    """A text in small letters, with single blanks and no final stop.

    >>> plain(" Two  dogs. ")
    'two dogs'
    """
    return " ".join(text.casefold().split()).rstrip(" .!")


def words(text: str) -> list[tuple[str, Span]]:
    """The words of a text in small letters, and where they stand.

    >>> words("A dog's bone, 2.5 kg")[1:3]
    [("dog's", (2, 7)), ('bone', (8, 12))]
    """
    return [(found[0].casefold(), found.span()) for found in WORD.finditer(text)]


def edit_distance(first: str, second: str) -> int:
    """Least number of characters to insert, remove or replace (Levenshtein).

    >>> edit_distance("kitten", "sitting")
    3
    """
    other = np.frombuffer(second.encode("utf-32-le"), dtype=np.uint32)
    steps = np.arange(len(other) + 1)
    row = steps.copy()
    for number, character in enumerate(first, start=1):
        replaced = row[:-1] + (other != ord(character))
        row = np.concatenate([[number], np.minimum(row[1:] + 1, replaced)])
        # an insertion costs one more than what stands to its left, however far
        row = np.minimum.accumulate(row - steps) + steps
    return int(row[-1])


def distance(first: str, second: str) -> float:
    """The edit distance as a share of the longer text: 0 = equal, 1 = nothing in common.

    >>> distance("red", "rad")
    0.3333333333333333
    """
    return edit_distance(first, second) / max(len(first), len(second), 1)


def length_ratio(first: str, second: str) -> float:
    """How many times as many words the longer text has.

    >>> length_ratio("a red circle", "red")
    3.0
    """
    counts = sorted(max(1, len(words(text))) for text in (first, second))
    return counts[1] / counts[0]


def differing(first: str, second: str) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """The phrases, in characters, in which two texts differ by their words; case and signs do not count.

    Both texts have equally many, and the k-th of one stands where the k-th of the other does. Where one text lacks words, the word after
    the place, or at the end the one before, belongs to the phrase on both sides, so that none is empty.

    >>> differing("a red circle moves", "a blue circle")
    (((2, 5), (6, 18)), ((2, 6), (7, 13)))
    """
    one, two = words(first), words(second)
    if not one or not two:
        return ((), ())
    matcher = SequenceMatcher(None, [word for word, _ in one], [word for word, _ in two], autojunk=False)
    ranges = [_filled(*places, len(one), len(two)) for kind, *places in matcher.get_opcodes() if kind != "equal"]
    joined = _joined(ranges)
    return (
        tuple((one[left][1][0], one[right - 1][1][1]) for left, right, _, _ in joined),
        tuple((two[left][1][0], two[right - 1][1][1]) for _, _, left, right in joined),
    )


Ranges = tuple[int, int, int, int]
"""Words (start, stop) of the first text and of the second."""


def _filled(a: int, b: int, c: int, d: int, first: int, second: int) -> Ranges:
    """A difference that has words on both sides; equal words stand around it where one side is empty."""
    if a < b and c < d:
        return a, b, c, d
    return (a, b + 1, c, d + 1) if b < first and d < second else (a - 1, b, c - 1, d)


def _joined(ranges: Sequence[Ranges]) -> list[Ranges]:
    """Differences of which those that touch the same word are one."""
    joined: list[Ranges] = []
    for a, b, c, d in ranges:
        if joined and (a < joined[-1][1] or c < joined[-1][3]):
            before = joined.pop()
            a, c = before[0], before[2]
        joined.append((a, b, c, d))
    return joined
