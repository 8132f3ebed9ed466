"""Rows read ahead of the model, in worker processes where wanted; a mistake in a row stays one sentence, or costs that row alone."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from torch.utils.data import DataLoader, Dataset

from mmalign.errors import UserError

logger = logging.getLogger(__name__)


class Batch(NamedTuple):
    """A batch, and by row what was wrong with those that others stand in for."""

    content: Any
    broken: dict[int, str]


def read_ahead(
    dataset: Dataset,
    items: Iterable[list[Any]],
    collate: Callable[[Sequence[Any]], Any],
    workers: int = 0,
    pin: bool = False,
    on_broken: Literal["raise", "skip"] = "raise",
) -> Iterator[Any]:
    """Batches in the order of ``items``, each a list of what addresses a row.

    Args:
        workers: processes that read and collate; 0 = this one.
        pin: put the batches into pinned memory.
        on_broken: what happens at a row that cannot be read: "raise", or "skip", which has the next row that can be read stand in for it,
            so that batches and all other rows stay as they are, and warns of each once. Rows are then addressed by (row, position).

    Raises:
        UserError: a row cannot be used; with "skip", none can.
    """
    reading = _Careful(dataset, on_broken == "skip")
    told: set[int] = set()
    for batch in DataLoader(reading, batch_sampler=items, collate_fn=_Together(collate), num_workers=workers, pin_memory=pin):
        if isinstance(batch, UserError):
            raise batch
        for row, complaint in batch.broken.items():
            if row not in told:
                told.add(row)
                logger.warning("left out a row that is broken, which makes %s so far: %s", f"{len(told):,}", complaint.rpartition("; ")[0])
        yield batch.content


class _Careful(Dataset):
    """Gives a UserError instead of raising it: from a worker process it would arrive as a page of traceback.

    A row comes with what was wrong with those that it stands in for, by row.
    """

    def __init__(self, dataset: Any, skip: bool):
        self.dataset, self.skip = dataset, skip

    def __getitem__(self, item: Any) -> tuple[Any, dict[int, str]] | UserError:
        try:
            return self.dataset[item], {}
        except UserError as error:
            return self._next(item, error) if self.skip else error

    def _next(self, item: tuple[int, int], error: UserError) -> tuple[Any, dict[int, str]] | UserError:
        index, position = item
        broken = {index: str(error)}
        for other in range(index + 1, index + len(self.dataset)):
            try:
                return self.dataset[other % len(self.dataset), position], broken
            except UserError as complaint:
                broken[other % len(self.dataset)] = str(complaint)
        return error


class _Together:
    """Makes a batch of rows, or gives the first UserError."""

    def __init__(self, collate: Callable[[Sequence[Any]], Any]):
        self.collate = collate

    def __call__(self, rows: Sequence[Any]) -> Batch | UserError:
        wrong = next((row for row in rows if isinstance(row, UserError)), None)
        if wrong is not None:
            return wrong
        try:
            content = self.collate([row for row, _ in rows])
        except UserError as error:
            return error
        return Batch(content, {row: complaint for _, broken in rows for row, complaint in broken.items()})
