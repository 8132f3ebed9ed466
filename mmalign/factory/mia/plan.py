"""Which row becomes which prompt, and which prompts are answered and saved together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mmalign.config.mia import Kind
from mmalign.training.order import derived_seed


class Request(NamedTuple):
    """A prompt to be made.

    Attributes:
        number: its number among all.
        kind: sequence, collage or pic_in_pic.
        count: of pictures.
        row: which question it is about.
    """

    number: int
    kind: Kind
    count: int
    row: int


@dataclass(frozen=True)
class Plan:
    """All prompts of a run, kind by kind, within one by number of pictures, within these by row.

    A batch is a function of the prompts' numbers alone, and shards hold whole batches: a prompt has the same batch-mates whatever process
    answers it, and wherever a run was stopped.

    Attributes:
        requests: the prompts.
        batch: how many are answered at once.
        shard: least number that is saved together.
    """

    requests: Sequence[Request]
    batch: int
    shard: int

    @property
    def size(self) -> int:
        """Prompts in a full shard."""
        return -(-self.shard // self.batch) * self.batch

    @property
    def sizes(self) -> list[int]:
        """How many prompts each shard has."""
        return [min(self.size, len(self.requests) - start) for start in range(0, len(self.requests), self.size)]

    def shard_of(self, number: int) -> Sequence[Request]:
        """The prompts of a shard."""
        return self.requests[number * self.size : (number + 1) * self.size]


def requests(rows: int, kinds: Mapping[Kind, Mapping[int, float]], seed: int) -> list[Request]:
    """Every row once for each kind; which have how many pictures is drawn so that the shares are met as nearly as whole rows can."""
    made = [
        (kind, count, row)
        for kind, shares in kinds.items()
        for count, taken in _dealt(rows, shares, derived_seed(seed, "mia", kind))
        for row in sorted(taken)
    ]
    return [Request(number, *each) for number, each in enumerate(made)]


def _dealt(rows: int, shares: Mapping[int, float], seed: int) -> Iterator[tuple[int, list[int]]]:
    order = np.random.default_rng(seed).permutation(rows)
    ends = np.rint(np.cumsum(list(shares.values())) / sum(shares.values()) * rows).astype(int)
    for count, start, stop in zip(shares, [0, *ends], ends, strict=False):
        yield count, order[start:stop].tolist()
