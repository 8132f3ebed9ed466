"""A content-addressed cache of tensors, in memory or in safetensors shards on disk.

What is stored under a key never changes: the key is a digest of everything the value depends on. Each shard is written under a
temporary name and renamed, so that a reader never sees half of one, and its name is unique, so that several writers do not meet.
"""

import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from mmalign.errors import UserError
from mmalign.files import write_whole

SEPARATOR = "/"


class TensorCache:
    """Named tensors under content keys.

    Args:
        folder: where the shards lie; None keeps everything in memory.

    Raises:
        UserError: a shard cannot be read or written; the message names it.
    """

    def __init__(self, folder: str | Path | None = None):
        self.folder = None if folder is None else Path(folder)
        self._memory: dict[str, dict[str, Tensor]] = {}
        self._where: dict[str, tuple[Path, list[str]]] = {}
        self._open: dict[Path, safe_open] = {}
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        self.refresh()

    def refresh(self) -> None:
        """Takes in what other writers have put into the folder."""
        if self.folder is not None:
            for shard in sorted(self.folder.glob("*.safetensors")):
                if shard not in self._open:
                    self._index(shard)

    def __contains__(self, key: str) -> bool:
        return key in self._memory or key in self._where

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those keys that are not stored yet, each once, in order."""
        return [key for key in dict.fromkeys(keys) if key not in self]

    def get(self, key: str) -> dict[str, Tensor]:
        """The tensors under a key. Raises KeyError where nothing is stored."""
        if key in self._memory:
            return self._memory[key]
        shard, names = self._where[key]
        handle = self._handle(shard)
        return {name: handle.get_tensor(f"{key}{SEPARATOR}{name}") for name in names}

    def put(self, entries: Mapping[str, dict[str, Tensor]]) -> None:
        """Stores entries; on disk they become one shard."""
        if self.folder is None:
            self._memory.update({key: {name: t.clone() for name, t in tensors.items()} for key, tensors in entries.items()})
            return
        flat = {f"{key}{SEPARATOR}{name}": t.contiguous() for key, tensors in entries.items() for name, t in tensors.items()}
        shard = self.folder / f"{uuid.uuid4().hex}.safetensors"
        write_whole(shard, save(flat))
        self._index(shard)

    def _index(self, shard: Path) -> None:
        for entry in self._handle(shard).keys():  # noqa: SIM118, a safetensors handle is no mapping
            key, name = entry.split(SEPARATOR, 1)
            self._where.setdefault(key, (shard, []))[1].append(name)

    def _handle(self, shard: Path) -> safe_open:
        if shard not in self._open:
            try:
                self._open[shard] = safe_open(shard, framework="pt")
            except Exception as error:
                raise UserError(f"the cache shard {shard} cannot be read ({error}); delete it and it is made again") from error
        return self._open[shard]

    def __getstate__(self) -> dict:
        # open files do not travel to loader processes; each opens its own
        return self.__dict__ | {"_open": {}}
