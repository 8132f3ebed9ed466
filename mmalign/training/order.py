"""Which row is trained on when, and with which random numbers: both are functions of the seed and a running position.

Nothing here has a state. Position p of the endless stream of rows is the same row with the same draws whether it is reached by one
process or many, in one micro-batch or several, at once or after a resume.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch


def derived_seed(seed: int, *parts: int | str) -> int:
    """A 63-bit seed for one purpose, unrelated to those of other parts."""
    text = "/".join(str(part) for part in (seed, *parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(seed: int, *parts: int | str) -> torch.Generator:
    """A CPU generator seeded by ``derived_seed``."""
    return torch.Generator().manual_seed(derived_seed(seed, *parts))


@lru_cache(maxsize=4)
def _permutation(rows: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng(derived_seed(seed, "order", epoch)).permutation(rows)


def row_at(position: int, rows: int, seed: int) -> int:
    """The row at a position of the stream: each epoch visits every row once, in its own order."""
    return int(_permutation(rows, seed, position // rows)[position % rows])


@dataclass(frozen=True)
class BatchPlan:
    """How the stream is dealt to steps, micro-batches and processes.

    Attributes:
        rows: rows in the data.
        batch_size: rows per micro-batch and process.
        accumulation: micro-batches per step.
        world: processes.
        rank: this process.
        seed: the run's seed.
    """

    rows: int
    batch_size: int
    accumulation: int = 1
    world: int = 1
    rank: int = 0
    seed: int = 0

    @property
    def rows_per_step(self) -> int:
        return self.batch_size * self.accumulation * self.world

    def micro_batch(self, step: int, micro: int) -> list[tuple[int, int]]:
        """This process's (row, position) pairs of a micro-batch; steps count from 0."""
        start = step * self.rows_per_step + (micro * self.world + self.rank) * self.batch_size
        return [(row_at(p, self.rows, self.seed), p) for p in range(start, start + self.batch_size)]

    def from_step(self, start: int, stop: int) -> Iterator[list[tuple[int, int]]]:
        """All micro-batches of the steps from start up to stop: a batch sampler for a loader."""
        for step in range(start, stop):
            for micro in range(self.accumulation):
                yield self.micro_batch(step, micro)
