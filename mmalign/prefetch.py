"""Work done ahead in threads, handed out in order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """Cores that this process may use; where the system does not say, those of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def prefetch(function: Callable[[Item], Result], items: Iterable[Item], workers: int, ahead: int) -> Iterator[Result]:
    """``map(function, items)`` with threads that work up to ``ahead`` items before the reader; in place where ``workers`` is 0.

    Decoding and resizing of images release Python's lock, so threads are enough and nothing has to be pickled. An exception comes out
    at its item's turn; a reader that stops early leaves no thread behind.
    """
    if workers < 1:
        yield from map(function, items)
        return
    source = iter(items)
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="prefetch")
    try:
        pending.extend(pool.submit(function, item) for item in islice(source, max(1, ahead)))
        while pending:
            result = pending.popleft().result()
            pending.extend(pool.submit(function, item) for item in islice(source, 1))
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
