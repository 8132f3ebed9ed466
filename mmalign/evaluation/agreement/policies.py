"""The published rules for ties, each as the credit a scorer gets for a pair: 1, 1/2, 0, or NaN for a pair that does not count.

A pair without a score never counts. With the sign h of what people preferred and the difference d of the scores:

============== ============================ ============================= =====================================================
rule           people saw a tie             the scorer sees a tie         where it comes from
============== ============================ ============================= =====================================================
decided        does not count               wrong                         ImageReward's test.py, HPSv2's evaluate_IR, imscore
never_wrong    right                        right                         HPSv2's inversion_score: 1 - inversions / pairs
half_credit    1 if the scorer does, or 1/2 1 if people do, or 1/2        PickScore's eval_preference_predictor.py
============== ============================ ============================= =====================================================

A scorer sees a tie where d = 0; under half_credit where abs(d) is no more than a threshold, which is tuned on other pairs.
HPSv2's own code breaks equal scores by their place before it counts, so that there a tie of the scorer may come out wrong.
"""

import numpy as np

from mmalign.evaluation.agreement.pairs import Pairs

MARGINS = np.arange(11) / 10
"""Margins between the two probabilities of being picked up to which PickScore's evaluation calls a tie."""


def decided(pairs: Pairs) -> np.ndarray:
    """Credit (N,) where ties among people are left out."""
    credit = (np.sign(pairs.difference) == pairs.human).astype(float)
    return np.where(pairs.scored & (pairs.human != 0), credit, np.nan)


def never_wrong(pairs: Pairs) -> np.ndarray:
    """Credit (N,) where only the opposite order is wrong."""
    credit = (np.sign(pairs.difference) * pairs.human >= 0).astype(float)
    return np.where(pairs.scored, credit, np.nan)


def half_credit(pairs: Pairs, threshold: float) -> np.ndarray:
    """Credit (N,) where scores no further apart than ``threshold`` are a tie, and a tie against a preference is half right.

    >>> pairs = Pairs(np.array([1, 1, 0, 0]), np.array([3.0, 0.5, 0.5, -3.0]), np.arange(4), np.arange(4))
    >>> half_credit(pairs, 1.0).tolist()
    [1.0, 0.5, 1.0, 0.5]
    """
    seen = np.where(np.abs(pairs.difference) <= threshold, 0, np.sign(pairs.difference))
    credit = np.where(seen == pairs.human, 1.0, np.where((seen == 0) | (pairs.human == 0), 0.5, 0.0))
    return np.where(pairs.scored, credit, np.nan)


def best_threshold(pairs: Pairs, candidates: np.ndarray | None = None) -> float:
    """The threshold with the most half credit, the smallest where several have it.

    Args:
        candidates: thresholds to choose from, in units of the score; None = 0 and every difference that occurs.

    Raises:
        ValueError: no pair has a score.
    """
    pairs = pairs.where(pairs.scored)
    if not len(pairs):
        raise ValueError("a threshold needs pairs with scores")
    gaps = np.abs(pairs.difference)
    candidates = np.unique(np.append(gaps, 0.0)) if candidates is None else np.asarray(candidates, dtype=float)
    order = np.argsort(gaps)
    # what a pair gains by becoming a tie, added up over all pairs as close as the candidate
    gain = np.cumsum(np.insert((half_credit(pairs, np.inf) - half_credit(pairs, -1.0))[order], 0, 0.0))
    return float(candidates[np.argmax(gain[np.searchsorted(gaps[order], candidates, side="right")])])


def published_thresholds() -> np.ndarray:
    """The differences, in logits, at which two probabilities of being picked stand apart by ``MARGINS``."""
    with np.errstate(divide="ignore"):
        return 2 * np.arctanh(MARGINS)
