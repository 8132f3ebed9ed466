"""What votes say: win rates with intervals, a ranking of several models, and how far the votes themselves can be trusted."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from mmalign.evaluation.statistics import Interval, ratio_interval, sign_test
from mmalign.votes.bradley_terry import strengths
from mmalign.votes.rounds import Cast


@dataclass(frozen=True)
class Duel:
    """Two models against one another. ``rate`` is how often ``first`` is preferred; ties and "both bad" count half.

    The unit of chance is the prompt: votes on one prompt are not independent.
    """

    first: str
    second: str
    wins: int
    losses: int
    ties: int
    both_bad: int
    rate: Interval
    p_value: float


@dataclass(frozen=True)
class Results:
    """What a set of votes says.

    Attributes:
        duels: of each two models that were compared and not only skipped.
        ranking: of the models by Bradley-Terry strength, best first, in Elo's unit (400 points are odds of 10), with mean 0; empty where
            there are two, or the duels do not connect all.
        left: how often the left side is preferred among votes for a side, with its interval and the p-value of no bias.
        skipped: votes that count nowhere.
        voters: different people.
    """

    duels: tuple[Duel, ...]
    ranking: tuple[tuple[str, Interval], ...]
    left: Interval | None
    left_p_value: float
    votes: int
    skipped: int
    voters: int


def results(votes: Sequence[Cast], seed: int = 0, resamples: int = 2000) -> Results:
    """The results of some votes.

    Args:
        seed: decides the resampling of prompts.
    """
    counted = [vote for vote in votes if vote.choice != "skip" and vote.left != vote.right]
    sides = Counter(vote.choice for vote in votes if vote.choice in ("left", "right"))
    decided = [vote for vote in votes if vote.choice in ("left", "right")]
    left = by_prompt(decided, [float(vote.choice == "left") for vote in decided], seed, resamples) if decided else None
    names = sorted({name for vote in counted for name in (vote.left, vote.right)})
    duels = [_duel(counted, pair, seed, resamples) for pair in combinations(names, 2)]
    return Results(
        duels=tuple(duel for duel in duels if duel is not None),
        ranking=_ranking(counted, names, seed, resamples),
        left=left,
        left_p_value=sign_test(sides["left"], sides["right"]),
        votes=len(votes),
        skipped=sum(vote.choice == "skip" for vote in votes),
        voters=len({vote.voter for vote in votes}),
    )


def outcome(vote: Cast, first: str) -> float:
    """1 where a model is preferred, 0 where the other is, 1/2 for a tie or "both bad"."""
    if vote.choice in ("left", "right"):
        return float((vote.left if vote.choice == "left" else vote.right) == first)
    return 0.5


def _duel(votes: Sequence[Cast], pair: tuple[str, str], seed: int, resamples: int) -> Duel | None:
    here = [vote for vote in votes if {vote.left, vote.right} == set(pair)]
    if not here:
        return None
    values = [outcome(vote, pair[0]) for vote in here]
    wins, losses = values.count(1.0), values.count(0.0)
    choices = Counter(vote.choice for vote in here)
    rate = by_prompt(here, values, seed, resamples)
    return Duel(*pair, wins, losses, choices["tie"], choices["both_bad"], rate, sign_test(wins, losses))


def by_prompt(votes: Sequence[Cast], values: Sequence[float], seed: int, resamples: int) -> Interval:
    """Mean of a value per vote, with its interval over prompts."""
    prompts, place = np.unique([vote.prompt for vote in votes], return_inverse=True)
    totals, counts = (np.bincount(place, weights, len(prompts)) for weights in (values, None))
    return ratio_interval(totals, counts, seed, resamples)


def _ranking(votes: Sequence[Cast], names: Sequence[str], seed: int, resamples: int) -> tuple[tuple[str, Interval], ...]:
    """Strengths with intervals over prompts; a resample that does not connect the models is drawn again a few times, then left out."""
    if len(names) < 3:
        return ()
    prompts, place = np.unique([vote.prompt for vote in votes], return_inverse=True)
    wins = np.zeros((len(prompts), len(names), len(names)))
    for vote, prompt in zip(votes, place, strict=True):
        left, right = names.index(vote.left), names.index(vote.right)
        wins[prompt, left, right] += outcome(vote, vote.left)
        wins[prompt, right, left] += outcome(vote, vote.right)
    middle = strengths(wins.sum(0))
    if middle is None:
        return ()
    draw = np.random.default_rng(seed)
    drawn = (strengths(wins[draw.integers(0, len(prompts), len(prompts))].sum(0)) for _ in range(min(resamples, 500)))
    low, high = np.quantile([one for one in drawn if one is not None] or [middle], [0.025, 0.975], axis=0)
    order = np.argsort(-middle)
    return tuple((names[k], Interval(float(middle[k]), float(low[k]), float(high[k]))) for k in order)
