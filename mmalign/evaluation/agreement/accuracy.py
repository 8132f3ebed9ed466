"""Shares of right pairs, with intervals over prompts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mmalign.evaluation.agreement.pairs import Pairs
from mmalign.evaluation.agreement.policies import decided
from mmalign.evaluation.agreement.rankings import Ranking
from mmalign.evaluation.statistics import Interval, ratio_interval

Policy = Literal["decided", "never_wrong", "half_credit"]
Mean = Literal["pairs", "rankings"]
"""Over what an accuracy is averaged: all pairs alike, or first the pairs of each ranking, so that all rankings count alike."""

_SOURCE_RESAMPLES = 2000


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made."""

    seed: int = 0
    resamples: int = 10_000
    confidence: float = 0.95


@dataclass(frozen=True)
class Accuracy:
    """A share of right pairs under one rule; ``pairs`` count under it."""

    policy: Policy
    mean: Mean
    value: Interval
    pairs: int


@dataclass(frozen=True)
class SourceAccuracy:
    """The share of right pairs among the decided ones of one source, averaged over pairs; of one prompt the interval says nothing."""

    source: str
    value: Interval
    pairs: int
    prompts: int


def accuracy(pairs: Pairs, credit: np.ndarray, policy: Policy, mean: Mean, bootstrap: Bootstrap) -> Accuracy:
    """The mean credit, with a bootstrap interval over prompts; two rankings of one prompt are drawn together.

    Raises:
        ValueError: no pair counts.
    """
    counts = ~np.isnan(credit)
    if not counts.any():
        raise ValueError(f"no pair counts under {policy}")
    prompts, rankings, earned = pairs.prompt[counts], pairs.ranking[counts], credit[counts]
    weights = np.ones(len(earned)) if mean == "pairs" else 1 / np.bincount(rankings)[rankings]
    present = np.unique(prompts, return_inverse=True)[1]
    totals, sizes = np.bincount(present, weights * earned), np.bincount(present, weights)
    value = ratio_interval(totals, sizes, bootstrap.seed, bootstrap.resamples, bootstrap.confidence)
    return Accuracy(policy, mean, value, int(counts.sum()))


def by_source(pairs: Pairs, rankings: Sequence[Ranking], bootstrap: Bootstrap) -> list[SourceAccuracy]:
    """Accuracy among the decided pairs of each source, most pairs first; sources without one are left out."""
    credit = decided(pairs)
    few = Bootstrap(bootstrap.seed, min(bootstrap.resamples, _SOURCE_RESAMPLES), bootstrap.confidence)
    found = []
    for source in dict.fromkeys(name for ranking in rankings for name in ranking.sources):
        member = np.array([source in ranking.sources for ranking in rankings])[pairs.ranking]
        if (member & ~np.isnan(credit)).any():
            result = accuracy(pairs.where(member), credit[member], "decided", "pairs", few)
            prompts = len(np.unique(pairs.prompt[member & ~np.isnan(credit)]))
            found.append(SourceAccuracy(source, result.value, result.pairs, prompts))
    return sorted(found, key=lambda row: (-row.pairs, row.source))
