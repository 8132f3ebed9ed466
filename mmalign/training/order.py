"""Which row is trained on when, and with which random numbers: both are functions of the seed and a running position.

Nothing here has a state. Position p of the endless stream of rows is the same row with the same draws whether it is reached by one
process or many, in one micro-batch or several, at once or after a resume.

Where rows have buckets, those of a micro-batch over all processes come from one of them. Every bucket has an endless stream of its own, in
which each of its epochs has every row once; the whole stream mixes batches of all of them, in each epoch as many of a bucket as its rows
fill. Rows that fill no batch come first in the next epoch: none is left out, and no batch is smaller.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

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
    return permutation(rows, seed, "order", epoch)


def permutation(count: int, seed: int, *parts: int | str) -> np.ndarray:
    """The numbers below ``count`` in an order for one purpose."""
    return np.random.default_rng(derived_seed(seed, *parts)).permutation(count)


def row_at(position: int, rows: int, seed: int) -> int:
    """The row at a position of the stream: each epoch visits every row once, in its own order."""
    return int(_permutation(rows, seed, position // rows)[position % rows])


class BucketedOrder:
    """The stream of rows that have buckets.

    Args:
        members: the rows of each bucket.
        batch: rows that come from one bucket together: those of a micro-batch over all processes.
        seed: the run's seed.
    """

    def __init__(self, members: Sequence[np.ndarray], batch: int, seed: int):
        self.members, self.batch, self.seed = members, batch, seed
        self._counts = np.array([len(rows) for rows in members], dtype=np.int64)
        self._batches: tuple[int, np.ndarray, np.ndarray] | None = None
        self._orders: dict[int, tuple[int, np.ndarray]] = {}

    def row_at(self, position: int) -> int:
        """The row at a position of the stream."""
        bucket, before = self._batch_at(position // self.batch)
        rows = self.members[bucket]
        place = before * self.batch + position % self.batch
        epoch, place = divmod(place, len(rows))
        return int(rows[self._order(bucket, epoch)[place]])

    def _order(self, bucket: int, epoch: int) -> np.ndarray:
        """The order of a bucket's rows in one of its own epochs."""
        kept = self._orders.get(bucket)
        if kept is None or kept[0] != epoch:
            kept = self._orders[bucket] = epoch, permutation(len(self.members[bucket]), self.seed, "order", "bucket", bucket, epoch)
        return kept[1]

    def _batch_at(self, number: int) -> tuple[int, int]:
        """The bucket of a batch, and how many batches of that bucket were before it."""
        # an epoch has no more batches than its rows fill, so it is this one or a later one
        epoch = number * self.batch // int(self._counts.sum())
        while number >= self._before(epoch + 1).sum():
            epoch += 1
        buckets, earlier = self._epoch(epoch)
        place = number - int(self._before(epoch).sum())
        return int(buckets[place]), int(earlier[place])

    def _before(self, epoch: int) -> np.ndarray:
        """Batches of each bucket before an epoch."""
        return epoch * self._counts // self.batch

    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The buckets of an epoch's batches, in order, and for each how many batches of its bucket were before it, in all epochs."""
        if self._batches is None or self._batches[0] != epoch:
            before = self._before(epoch)
            buckets = np.repeat(np.arange(len(before)), self._before(epoch + 1) - before)
            buckets = buckets[permutation(len(buckets), self.seed, "order", "buckets", epoch)]
            earlier = np.empty_like(buckets)
            for bucket, count in enumerate(before):
                there = buckets == bucket
                earlier[there] = count + np.arange(there.sum())
            self._batches = epoch, buckets, earlier
        return self._batches[1:]


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
        buckets: the rows of each bucket; None = any rows may share a batch.
    """

    rows: int
    batch_size: int
    accumulation: int = 1
    world: int = 1
    rank: int = 0
    seed: int = 0
    buckets: Sequence[np.ndarray] | None = field(default=None, repr=False, compare=False)

    @property
    def rows_per_step(self) -> int:
        return self.batch_size * self.accumulation * self.world

    @property
    def rows_together(self) -> int:
        """Rows of a micro-batch over all processes, which are of one bucket."""
        return self.batch_size * self.world

    @cached_property
    def _bucketed(self) -> BucketedOrder | None:
        return None if self.buckets is None else BucketedOrder(self.buckets, self.rows_together, self.seed)

    def row_at(self, position: int) -> int:
        """The row at a position of the stream."""
        return row_at(position, self.rows, self.seed) if self._bucketed is None else self._bucketed.row_at(position)

    def micro_batch(self, step: int, micro: int) -> list[tuple[int, int]]:
        """This process's (row, position) pairs of a micro-batch; steps count from 0."""
        start = step * self.rows_per_step + (micro * self.world + self.rank) * self.batch_size
        return [(self.row_at(p), p) for p in range(start, start + self.batch_size)]

    def from_step(self, start: int, stop: int) -> Iterator[list[tuple[int, int]]]:
        """All micro-batches of the steps from start up to stop: a batch sampler for a loader."""
        for step in range(start, stop):
            for micro in range(self.accumulation):
                yield self.micro_batch(step, micro)
