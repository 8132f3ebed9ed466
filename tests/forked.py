"""Work in forked processes: killed at random moments, or shared between several."""

import multiprocessing
import os
import random
import socket
from collections.abc import Callable

FORK = multiprocessing.get_context("fork")


def killed_at_random(work: Callable[[], object], longest: float, times: int = 20, seed: int = 0) -> int:
    """Does work in a child that is killed after up to so many seconds, again and again until one comes to its end.

    Returns how many were killed; after ``times`` of them the work may be undone still.
    """
    moments = random.Random(seed)
    for killed in range(times):
        child = FORK.Process(target=work)
        child.start()
        child.join(moments.uniform(0.02, longest))
        if not child.is_alive():
            return killed
        child.kill()
        child.join()
    return times


def shared(work: Callable[[int], object], world: int = 2, wait: float = 600) -> None:
    """Does work(rank) in so many processes that find each other as those of torchrun do; all must come to a good end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(world)}

    def join(rank: int) -> None:
        os.environ.update({**place, "RANK": str(rank)})
        work(rank)

    processes = [FORK.Process(target=join, args=(rank,)) for rank in range(world)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(wait)
    assert [process.exitcode for process in processes] == [0] * world
