"""The preferences that a run trains on: read as configured, and fit for its method."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

from mmalign import data
from mmalign.config import SourceConfig
from mmalign.data.schema import Example
from mmalign.errors import UserError
from mmalign.objective import Objective


def load_examples(config: SourceConfig, source: Any = None) -> Sequence[Example]:
    """The preferences that the configuration names, or those of a source in memory read as it says."""
    options = {"split": config.split, "ties": config.ties, "on_broken": config.on_broken} | config.columns
    return data.load(config.name, config.source if source is None else source, **options)[: config.limit]


def check_candidates(objective: Objective, example: Example) -> None:
    """Raises UserError where the method does not compare so many candidates."""
    count, wanted = len(example.images), objective.candidates
    if count not in wanted:
        number = str(wanted.start) if len(wanted) == 1 else f"{wanted.start} or more"
        raise UserError(
            f"{example.origin} has {count} candidates, but {type(objective).__name__} compares {number}; choose another method or data"
        )


def check_label(objective: Objective, example: Example) -> None:
    """Raises UserError where the method does not read such a label."""
    if example.preference == 1 or objective.reads == "probabilities":
        return
    if example.preference == 0.5:
        if objective.reads == "orders":
            raise UserError(f"{example.origin} is a tie, which {type(objective).__name__} does not read; read ties by drop or half")
        return
    remedy = "round the labels, or choose a method that does (diffusion_dpo and its variants; soft_pair for scorers)"
    raise UserError(f"{example.origin} is a soft label ({example.preference:g}), which {type(objective).__name__} does not read; {remedy}")


def check_scores(objective: Objective, example: Example) -> None:
    """Raises UserError where the method cannot work with the scores of a row."""
    if complaint := objective.complaint(example.scores):
        raise UserError(f"{example.origin}: {complaint}")


def ranks_of(example: Example) -> list[int]:
    """Places of the K candidates, 0 the best: the order of the images is the truth, and equal scores of neighbors are a tie.

    >>> ranks_of(Example("a", (b"", b"", b"", b""), scores=(9.0, 4.0, 4.0, 1.0)))
    [0, 1, 1, 2]
    """
    count = len(example.images)
    if example.preference == 0.5:
        return [0] * count
    if example.scores is None:
        return list(range(count))
    steps = [int(better != worse) for better, worse in pairwise(example.scores)]
    return list(accumulate(steps, initial=0))
