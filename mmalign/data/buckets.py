"""Aspect-ratio buckets: windows of about one area and different shapes, and which rows are cut to which.

A row goes to one window with all its candidates, so that what a method compares differs in nothing that the cut brings in. Rows of one
window share batches. The shape of an image is the logarithm of width over height, in which 2:1 and 1:2 are equally far from a square.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, log

import numpy as np

from mmalign.errors import UserError

Size = tuple[int, int]
"""(height, width) in pixels."""


def shape_of(size: Size) -> float:
    """The logarithm of width over height.

    >>> shape_of((512, 512))
    0.0
    """
    return log(size[1] / size[0])


def cut_share(shape: float, window: Size) -> float:
    """The part of an image's pixels that lies outside a window which it just covers.

    >>> round(cut_share(shape_of((100, 200)), (64, 64)), 6)
    0.5
    """
    return 1 - exp(-abs(shape - shape_of(window)))


def windows_of(side: int, step: int, max_aspect: float, longest: int | None = None) -> list[Size]:
    """Windows with no more pixels than a square of this side: for each longer side the largest shorter one, both ways round.

    With 1024, 64 and 2 these are 1024x1024, 960x1088, 896x1152, 832x1216, 768x1344 and 704x1408 among others, as SDXL was trained on
    (Podell et al. 2023, appendix I).

    Args:
        side: of the square whose area the windows have, pixels.
        step: all sides are multiples of it, pixels.
        max_aspect: the longer side is at most so many times the shorter one.
        longest: no side is longer; shapes that would need one are cut out of the longest, with fewer pixels. None = any.

    Raises:
        UserError: the side is shorter than a step.
    """
    if side < step:
        raise UserError(f"buckets of {side} x {side} pixels cannot have sides in steps of {step}; give a larger data.resolution")
    most = int(side * max_aspect) if longest is None else min(longest, int(side * max_aspect))
    found = {(min(side * side // long, long) // step * step, long) for long in range(step, most + 1, step) if long >= side // step * step}
    last = most // step * step
    found |= {(short, last) for short in range(step, side * side // last + 1, step)}
    fit = {size for size in found if 0 < size[0] <= size[1] <= max_aspect * size[0]}
    return sorted(fit | {(long, short) for short, long in fit}, key=lambda size: (shape_of(size), size))


@dataclass(frozen=True)
class Buckets:
    """Rows by window.

    Attributes:
        windows: those that have rows.
        places: for each row the place of its window among them, (rows,).
        merged: of each window that had too few rows: the window, how many, and the window that they went to.
        images: images that were looked at.
        cut: share of their pixels that the windows cut away, 0 to 1, the mean over images.
        cut_by_squares: what squares would cut away.
    """

    windows: tuple[Size, ...]
    places: np.ndarray
    merged: tuple[tuple[Size, int, Size], ...]
    images: int
    cut: float
    cut_by_squares: float

    def window(self, row: int) -> Size:
        return self.windows[self.places[row]]

    def members(self) -> list[np.ndarray]:
        """The rows of each window."""
        return [np.flatnonzero(self.places == place) for place in range(len(self.windows))]

    def only(self, rows: Sequence[int]) -> "Buckets":
        """The same of some rows, in that order; windows without any are left out."""
        places = self.places[np.asarray(rows, dtype=np.int64)]
        there, renumbered = np.unique(places, return_inverse=True)
        return replace(self, windows=tuple(self.windows[place] for place in there), places=renumbered)


def bucketed(shapes: Sequence[Sequence[float]], windows: Sequence[Size], at_least: int = 1) -> Buckets:
    """Rows dealt to windows: each to the nearest in shape to the mean of its candidates' shapes, the larger of two that are equally near.

    Of windows with fewer rows than ``at_least``, the one with fewest goes first to the nearest that has any, until none is left.

    Args:
        shapes: of each row's candidates.
        windows: to choose from, one at least.
    """
    ordered = sorted(windows, key=lambda size: (-size[0] * size[1], shape_of(size)))
    known = np.array([shape_of(size) for size in ordered])
    means = np.array([sum(row) / len(row) for row in shapes])
    different, which = np.unique(means, return_inverse=True)
    # rounded, since windows that are equally near differ in the last bits alone
    chosen = np.array([np.argmin(np.abs(known - mean).round(12)) for mean in different], dtype=np.int64)[which]
    goes, merged = _merged(Counter(chosen.tolist()), known, at_least)
    final = np.array([goes[place] for place in chosen.tolist()], dtype=np.int64)
    there, places = np.unique(final, return_inverse=True)
    taken = tuple(ordered[place] for place in there)
    every = [(shape, taken[place]) for row, place in zip(shapes, places, strict=True) for shape in row]
    return Buckets(
        windows=taken,
        places=places,
        merged=tuple((ordered[place], count, ordered[goes[place]]) for place, count in merged),
        images=len(every),
        cut=float(np.mean([cut_share(shape, window) for shape, window in every])) if every else 0.0,
        cut_by_squares=float(np.mean([cut_share(shape, (1, 1)) for shape, _ in every])) if every else 0.0,
    )


def _merged(rows: Counter[int], shapes: np.ndarray, at_least: int) -> tuple[dict[int, int], list[tuple[int, int]]]:
    """Where the rows of each window go in the end, and the windows that were given up with their own rows."""
    goes = {place: place for place in rows}
    now = dict(rows)
    while len(now) > 1:
        fewest = min(now, key=lambda place: (now[place], -abs(shapes[place]), place))
        if now[fewest] >= at_least:
            break
        others = [place for place in now if place != fewest]
        nearest = min(others, key=lambda place: (round(abs(shapes[place] - shapes[fewest]), 12), place))
        now[nearest] += now.pop(fewest)
        goes = {place: nearest if end == fewest else end for place, end in goes.items()}
    return goes, sorted((place, rows[place]) for place, end in goes.items() if end != place)
