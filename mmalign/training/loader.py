"""Rows read ahead of the model, in worker processes where wanted; a mistake in a row stays one sentence."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from torch.utils.data import DataLoader, Dataset

from mmalign.errors import UserError


def read_ahead(
    dataset: Dataset, items: Iterable[list[Any]], collate: Callable[[Sequence[Any]], Any], workers: int = 0, pin: bool = False
) -> Iterator[Any]:
    """Batches in the order of ``items``, each a list of what addresses a row.

    Args:
        workers: processes that read and collate; 0 = this one.
        pin: put the batches into pinned memory.

    Raises:
        UserError: a row cannot be used.
    """
    loader = DataLoader(_Careful(dataset), batch_sampler=items, collate_fn=_Careful(collate), num_workers=workers, pin_memory=pin)
    for batch in loader:
        if isinstance(batch, UserError):
            raise batch
        yield batch


class _Careful(Dataset):
    """Gives a UserError instead of raising it: from a worker process it would arrive as a page of traceback."""

    def __init__(self, inner: Any):
        self.inner = inner

    def __getitem__(self, item: Any) -> Any:
        try:
            return self.inner[item]
        except UserError as error:
            return error

    def __call__(self, rows: Sequence[Any]) -> Any:
        return next((row for row in rows if isinstance(row, UserError)), None) or self.inner(rows)
