"""Which prompts a report shows: a fair sample, and the extremes under their own names."""

import numpy as np


def evenly_spaced(total: int, count: int) -> list[int]:
    """``count`` of ``total`` positions, spread over the whole range without looking at any score.

    >>> evenly_spaced(10, 4)
    [1, 3, 6, 8]
    """
    count = min(count, total)
    return [int((2 * position + 1) * total / (2 * count)) for position in range(count)]


def largest_wins(difference: np.ndarray, count: int) -> list[int]:
    """Positions of the ``count`` largest positive differences (P,), largest first; fewer where there are fewer wins."""
    order = np.argsort(-difference, kind="stable")[:count]
    return [int(position) for position in order if difference[position] > 0]
