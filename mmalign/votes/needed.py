"""How many votes are needed, and how well scorers agree with them."""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
from PIL import Image

from mmalign.evaluation.statistics import Interval
from mmalign.votes.results import by_prompt
from mmalign.votes.rounds import Cast

Pictures = Callable[[int], tuple[Image.Image, Image.Image]]
Score = Callable[[Sequence[Image.Image], Sequence[str]], Sequence[float]]


def votes_needed(rate: float, ties: float = 0.0, power: float = 0.8, level: float = 0.05) -> int:
    """Votes until a two-sided sign test sees a win rate with the given power (normal approximation).

    Args:
        rate: true share of wins among votes for a side, not 1/2.
        ties: share of votes that prefer no side; they are cast and tell nothing.

    Raises:
        ValueError: a rate of 1/2, or a number outside its range.
    """
    if not (0 < rate < 1 and rate != 0.5 and 0 <= ties < 1 and 0 < power < 1 and 0 < level < 1):
        raise ValueError(f"no number of votes shows a rate of {rate} with ties {ties}, power {power} at level {level}")
    normal = NormalDist()
    spread = normal.inv_cdf(1 - level / 2) / 2 + normal.inv_cdf(power) * math.sqrt(rate * (1 - rate))
    return math.ceil((spread / (rate - 0.5)) ** 2 / (1 - ties))


def agreement(votes: Sequence[Cast], pictures: Pictures, score: Score, batch: int = 16, seed: int = 0) -> Interval | None:
    """How often a scorer puts the pictures of a vote in the order that the person did, over votes for a side; a scorer's tie counts half.

    Args:
        pictures: gives the left and the right picture of a round.
        score: a scorer, as ``Reward.score``.

    Returns:
        The share with its interval over prompts; None where nobody preferred a side.
    """
    decided = [vote for vote in votes if vote.choice in ("left", "right")]
    right = []
    for start in range(0, len(decided), batch):
        part = decided[start : start + batch]
        images = [image for vote in part for image in pictures(vote.round)]
        scores = np.asarray(score(images, [vote.prompt for vote in part for _ in range(2)]), dtype=np.float64).reshape(-1, 2)
        signs = np.array([1 if vote.choice == "left" else -1 for vote in part])
        right += ((np.sign(scores[:, 0] - scores[:, 1]) * signs + 1) / 2).tolist()
    return by_prompt(decided, right, seed, 2000) if right else None
