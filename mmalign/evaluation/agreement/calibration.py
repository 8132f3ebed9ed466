"""Whether differences of scores say how sure one may be: P(first preferred) = sigmoid(difference / temperature)."""

from dataclasses import dataclass

import numpy as np

from mmalign.evaluation.agreement.pairs import Pairs

_STEPS = 200
_STEEPEST = 1e3  # a scorer that is never wrong has no best temperature; this over the mean difference is as steep as it gets


@dataclass(frozen=True)
class Bin:
    """Pairs of like confidence: their number, the mean probability of the image scored higher, and the share where it was preferred."""

    pairs: int
    confidence: float
    right: float


@dataclass(frozen=True)
class Calibration:
    """How well probabilities fit, on decided pairs.

    Attributes:
        temperature: units of the score per logit, fitted on other pairs; infinite where the scorer is no better than chance there.
        fitted_on: decided pairs the temperature was fitted on.
        log_loss: mean of -log of the probability of what happened; a coin has log 2 = 0.693.
        brier: mean squared error of the probability; a coin has 0.25.
        error: expected calibration error, the mean over pairs of the gap between confidence and share right in their bin.
    """

    temperature: float
    fitted_on: int
    pairs: int
    log_loss: float
    brier: float
    error: float
    bins: tuple[Bin, ...]


def calibration(pairs: Pairs, temperature: float, fitted_on: int, bins: int = 10) -> Calibration:
    """Calibration on the decided pairs that have scores; ``bins`` of equal width lie between confidence 1/2 and 1.

    Raises:
        ValueError: no pair is decided and scored.
    """
    margin = agreed_margin(pairs) / temperature
    if not len(margin):
        raise ValueError("no pair is decided and scored")
    chance = np.exp(-np.logaddexp(0, -margin))  # of what people preferred
    confidence, right = np.maximum(chance, 1 - chance), np.where(margin == 0, 0.5, (margin > 0).astype(float))
    place = np.minimum(((confidence - 0.5) * 2 * bins).astype(int), bins - 1)
    table = tuple(_bin(confidence[place == k], right[place == k]) for k in range(bins) if (place == k).any())
    return Calibration(
        temperature=temperature,
        fitted_on=fitted_on,
        pairs=len(margin),
        log_loss=float(np.logaddexp(0, -margin).mean()),
        brier=float(((1 - chance) ** 2).mean()),
        error=sum(row.pairs * abs(row.confidence - row.right) for row in table) / len(margin),
        bins=table,
    )


def fit_temperature(pairs: Pairs) -> float:
    """The temperature with the smallest log loss on the decided pairs that have scores; infinite where no finite one beats a coin.

    The loss is convex in 1 / temperature, whose derivative is halved to its root.

    Raises:
        ValueError: no pair is decided and scored.
    """
    margin = agreed_margin(pairs)
    if not len(margin):
        raise ValueError("a temperature needs decided pairs with scores")
    if margin.sum() <= 0:
        return float("inf")
    low, high = 0.0, _STEEPEST / float(np.abs(margin).mean())
    for _ in range(_STEPS):
        middle = (low + high) / 2
        # minus the derivative of the loss: positive while a steeper slope fits better
        better = (margin * np.exp(-np.logaddexp(0, middle * margin))).sum() > 0
        low, high = (middle, high) if better else (low, middle)
    return 2 / (low + high)


def agreed_margin(pairs: Pairs) -> np.ndarray:
    """Of the decided pairs that have scores, by how much the image people preferred scored higher, (M,)."""
    kept = pairs.where(pairs.scored & (pairs.human != 0))
    return kept.difference * kept.human


def _bin(confidence: np.ndarray, right: np.ndarray) -> Bin:
    return Bin(len(right), float(confidence.mean()), float(right.mean()))
