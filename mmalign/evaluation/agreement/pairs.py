"""Every two images of a ranking: whom people preferred, and how far apart the scorer put them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmalign.evaluation.agreement.rankings import Ranking


@dataclass(frozen=True)
class Pairs:
    """N pairs of images, each image before the later ones of its ranking.

    Attributes:
        human: (N,) 1 where people preferred the first, -1 the second, 0 a tie.
        difference: (N,) score of the first minus that of the second; NaN where one of them has no score.
        ranking: (N,) which ranking a pair is of, counted from 0.
        prompt: (N,) which prompt; rankings of the same text share it.
    """

    human: np.ndarray
    difference: np.ndarray
    ranking: np.ndarray
    prompt: np.ndarray

    def __len__(self) -> int:
        return len(self.human)

    def where(self, keep: np.ndarray) -> "Pairs":
        """The pairs of a mask (N,)."""
        return Pairs(self.human[keep], self.difference[keep], self.ranking[keep], self.prompt[keep])

    @property
    def scored(self) -> np.ndarray:
        """(N,) whether both images have a score."""
        return ~np.isnan(self.difference)


def all_pairs(rankings: Sequence[Ranking], scores: Sequence[Sequence[float]]) -> Pairs:
    """The K (K - 1) / 2 pairs of every ranking; a score that is no finite number is no score.

    Args:
        scores: K numbers for each ranking, higher is better.
    """
    numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(ranking.prompt for ranking in rankings))}
    parts = [np.zeros((4, 0))]
    for place, (ranking, given) in enumerate(zip(rankings, scores, strict=True)):
        first, second = np.triu_indices(len(ranking.human), 1)
        human, own = np.asarray(ranking.human, dtype=float), np.asarray(given, dtype=float)
        own = np.where(np.isfinite(own), own, np.nan)
        sign, difference = np.sign(human[first] - human[second]), own[first] - own[second]
        parts.append(np.stack([sign, difference, np.full(len(first), place), np.full(len(first), numbers[ranking.prompt])]))
    human, difference, ranking, prompt = np.concatenate(parts, axis=1)
    return Pairs(human, difference, ranking.astype(np.int64), prompt.astype(np.int64))
