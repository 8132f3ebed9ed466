"""One scorer against people, from pairs to the numbers that are shown."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from mmalign.errors import UserError
from mmalign.evaluation.agreement.accuracy import Accuracy, Bootstrap, Mean, Policy, accuracy, by_source
from mmalign.evaluation.agreement.calibration import Calibration, agreed_margin, calibration, fit_temperature
from mmalign.evaluation.agreement.pairs import Pairs
from mmalign.evaluation.agreement.policies import best_threshold, decided, half_credit, never_wrong, published_thresholds
from mmalign.evaluation.agreement.published import of_scorer
from mmalign.evaluation.agreement.rankings import Ranking
from mmalign.evaluation.agreement.result import Agreement

Thresholds = Literal["every", "published"]


@dataclass(frozen=True)
class Rules:
    """How pairs become numbers: the thresholds to choose from under half credit, the bins of the calibration, and the bootstrap."""

    thresholds: Thresholds = "every"
    bins: int = 10
    bootstrap: Bootstrap = field(default_factory=Bootstrap)


@dataclass(frozen=True)
class Subject:
    """The scorer: its title, plug-in, unit and fields; ``own_weights`` as in ``Agreement``."""

    name: str
    reward: str
    unit: str
    fields: dict[str, object] = field(default_factory=dict)
    own_weights: str | None = None


def measure(
    subject: Subject, rankings: Sequence[Ranking], pairs: Pairs, validation: Pairs | None, dataset: str | None, rules: Rules
) -> Agreement:
    """Accuracy under every rule, by source, and calibration.

    Args:
        validation: pairs on which the threshold and the temperature are chosen; without them there is no half credit and no calibration.
        dataset: the published test set that the pairs are.

    Raises:
        UserError: no pair is decided, or the scorer gave no score to any decided pair, here or in the validation source.
    """
    _check(subject, pairs, "")
    if validation is not None:
        _check(subject, validation, " of the validation source")
    threshold = None if validation is None else best_threshold(validation, _candidates(rules))
    return Agreement(
        name=subject.name,
        reward=subject.reward,
        unit=subject.unit,
        accuracies=_accuracies(pairs, threshold, rules.bootstrap),
        sources=by_source(pairs, rankings, rules.bootstrap),
        unscored=int((~pairs.scored).sum()),
        equal=int((pairs.difference == 0).sum()),
        threshold=threshold,
        calibration=None if validation is None else _calibrated(pairs, validation, rules.bins),
        published=[] if dataset is None else of_scorer(dataset, subject.reward, subject.fields),
        own_weights=subject.own_weights,
    )


def _check(subject: Subject, pairs: Pairs, where: str) -> None:
    if not (pairs.human != 0).any():
        raise UserError(f"none of the {len(pairs)} pairs{where} is decided: people saw ties only; give judgments that prefer an image")
    if not len(agreed_margin(pairs)):
        raise UserError(f"{subject.name!r} gave no score to both images of any decided pair{where}; look at what it says of one image")


def _candidates(rules: Rules) -> np.ndarray | None:
    return published_thresholds() if rules.thresholds == "published" else None


def _accuracies(pairs: Pairs, threshold: float | None, bootstrap: Bootstrap) -> list[Accuracy]:
    credits: dict[Policy, np.ndarray] = {"decided": decided(pairs), "never_wrong": never_wrong(pairs)}
    if threshold is not None:
        credits["half_credit"] = half_credit(pairs, threshold)
    means: tuple[Mean, ...] = ("pairs",) if one_pair_each(pairs) else ("pairs", "rankings")
    return [accuracy(pairs, credit, policy, mean, bootstrap) for policy, credit in credits.items() for mean in means]


def one_pair_each(pairs: Pairs) -> bool:
    """Whether no ranking has more than one pair, so that a mean over pairs is one over rankings."""
    return len(np.unique(pairs.ranking)) == len(pairs)


def _calibrated(pairs: Pairs, validation: Pairs, bins: int) -> Calibration:
    return calibration(pairs, fit_temperature(validation), len(agreed_margin(validation)), bins)
