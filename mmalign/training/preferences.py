"""The preferences that a run trains on: read as configured, and fit for its method."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

from mmalign import data
from mmalign.config import SourceConfig
from mmalign.data.schema import Example, PromptOnly
from mmalign.errors import UserError
from mmalign.objective import Objective
from mmalign.prompts import load_prompts

PROMPTS = "prompts"
"""The name of data that are prompts alone, wherever prompts can be."""


def load_examples(config: SourceConfig, source: Any = None, lazily: bool = False) -> Sequence[Example]:
    """The preferences that the configuration names, or those of a source in memory read as it says; without pictures, its prompts.

    Args:
        lazily: where the configuration skips rows with broken images, leave them in for one who opens all images anyway.
    """
    if config.name == PROMPTS and source is None:
        found = load_prompts(config.source)[: config.limit]
        return [PromptOnly(prompt, origin=f"{config.source}, prompt {index}") for index, prompt in enumerate(found)]
    on_broken = "later" if lazily and config.on_broken == "skip" else config.on_broken
    options = {"split": config.split, "ties": config.ties, "on_broken": on_broken, "stream": config.stream} | config.columns
    return data.load(config.name, config.source if source is None else source, **options)[: config.limit]


def check_candidates(objective: Objective, example: Example, drawn: int = 0) -> None:
    """Raises UserError where the method does not compare so many candidates, with those that are drawn during the run."""
    count, wanted = len(example.images), objective.candidates
    if count + drawn not in wanted:
        number = str(wanted.start) if len(wanted) == 1 else f"{wanted.start} or more"
        if not count:
            remedy = "give pictures, or have them drawn during the run (online.keep pair)"
            raise UserError(f"{example.origin} has no picture, but {type(objective).__name__} learns from {number}; {remedy}")
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
