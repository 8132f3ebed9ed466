"""The processes that share a run, as torchrun and `accelerate launch` start them. They meet once, at the start; after that files tell."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from mmalign.errors import UserError
from mmalign.prefetch import cores

_KEY = "mmalign/score"


@dataclass
class Processes:
    """This process among those of the run.

    Attributes:
        rank: which one it is, from 0.
        world: how many there are.
        local: which one it is on its machine.
        neighbors: how many there are on its machine.
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    neighbors: int = 1
    _store: Any = field(default=None, repr=False)

    @classmethod
    def found(cls) -> "Processes":
        """From the environment; alone where it says nothing."""
        rank, world, local, neighbors = (
            int(os.environ.get(name, default))
            for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0), ("LOCAL_WORLD_SIZE", 1))
        )
        return cls(rank, world, local, neighbors)

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    @property
    def threads(self) -> int:
        """A fair share of the machine's cores, 16 at most."""
        return max(1, min(16, cores() // self.neighbors))

    def take_device(self) -> None:
        """Makes this process's accelerator the one that "auto" and "cuda" mean."""
        if self.world > 1 and torch.accelerator.is_available():
            torch.accelerator.set_device_index(self.local % torch.accelerator.device_count())

    def agree(self, seen: str, begin: Callable[[], None]) -> None:
        """The main process begins; the others wait for that and make sure that they see the same.

        Args:
            seen: what each process found by itself.
            begin: prepares the output; called in the main process.

        Raises:
            UserError: what ``begin`` raises, in the main process; in another one, that it sees something else.
            SystemExit: the main process could not begin; it has said why.
        """
        if self.world == 1:
            begin()
            return
        self._store = self._meet()  # held, as the main process may be the one that serves it
        if self.is_main:
            try:
                begin()
            except BaseException:
                self._store.set(_KEY, json.dumps(None))
                raise
            self._store.set(_KEY, json.dumps(seen))
            return
        told = json.loads(self._store.get(_KEY))
        if told is None:
            raise SystemExit(2)
        if told != seen:
            raise UserError(f"process {self.rank} sees other images than process 0; give paths that all machines share")

    def _meet(self) -> Any:
        try:
            return next(torch.distributed.rendezvous("env://"))[0]
        except (ValueError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            raise UserError(
                f"the {self.world} processes do not find each other ({reason}); start them by torchrun or accelerate launch"
            ) from error
