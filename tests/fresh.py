"""Work in several processes forked from a fresh interpreter: autograd's threads, where there are any by now, do not outlive a fork."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch

from tests.forked import shared


def together(function: Callable[..., object], *values: Any, world: int = 2, machines: int = 1) -> str:
    """Does function(rank, *values), a function of a module and what JSON holds, in processes that find each other; gives what they print.

    They keep their group, so that several runs can follow one another in them.
    """
    named = {"module": function.__module__, "name": function.__name__, "values": values, "world": world, "each": world // machines}
    words = [sys.executable, "-m", "tests.fresh", json.dumps(named)]
    done = subprocess.run(words, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-20000:]
    return done.stdout


def main(module: str, name: str, values: list[Any], world: int, each: int) -> None:
    function = getattr(import_module(module), name)
    os.environ["LOCAL_WORLD_SIZE"] = str(each)
    torch.distributed.destroy_process_group = lambda *_: None  # which a run does at its end

    def work(rank: int) -> None:
        os.environ["LOCAL_RANK"] = str(rank % each)
        function(rank, *values)

    shared(work, world)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
