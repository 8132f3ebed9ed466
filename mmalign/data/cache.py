"""A content-addressed cache of tensors, in memory or in safetensors shards on disk.

What is stored under a key never changes: the key is a digest of everything the value depends on. Each shard is written under a
temporary name and renamed, so that a reader never sees half of one, and its name is unique, so that several writers do not meet.
Entries of equal shapes lie stacked in one tensor for each of their names, so that a shard is read without a long table of contents.
"""

import json
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from mmalign.data.cache_index import WIDTH, Index, Shard
from mmalign.errors import UserError
from mmalign.files import write_whole

SUFFIX = ".safetensors"
SEPARATOR = "/"
KEYS = "keys"
OPEN = 256
"""Shards that are held open."""

Entry = dict[str, Tensor]


class TensorCache:
    """Named tensors under content keys.

    Args:
        folder: where the shards lie; None keeps everything in memory.
        writes: whether what is put goes to the disk; where not, it stays in memory, and a folder that is not there is not made.

    Raises:
        UserError: a shard cannot be read or written; the message names it.
    """

    def __init__(self, folder: str | Path | None = None, writes: bool = True):
        self.folder, self.writes = None if folder is None else Path(folder), writes and folder is not None
        self._memory: dict[str, Entry] = {}
        self._open: OrderedDict[str, _Opened] = OrderedDict()
        self._index = None if self.folder is None else Index(self.folder)
        if self.folder is not None and self.writes:
            _make(self.folder)
        self.refresh()

    def refresh(self) -> None:
        """Takes in what other writers have put into the folder."""
        if self._index is not None and self.folder.is_dir():
            self._index.refresh((path.name for path in self.folder.glob(f"[!.]*{SUFFIX}")), self._asked)

    def __contains__(self, key: str) -> bool:
        return key in self._memory or (self._index is not None and self._index.find(key) is not None)

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those keys that are not stored yet, each once, in order."""
        wanted = [key for key in dict.fromkeys(keys) if key not in self._memory]
        if self._index is None:
            return wanted
        return [key for key, there in zip(wanted, self._index.has(wanted), strict=True) if not there]

    def get(self, key: str) -> Entry:
        """The tensors under a key. Raises KeyError where nothing is stored."""
        if key in self._memory:
            return self._memory[key]
        found = None if self._index is None else self._index.find(key)
        if found is None:
            raise KeyError(key)
        shard, group, place = found
        return self._opened(shard.name).entry(group, place)

    def put(self, entries: Mapping[str, Entry]) -> None:
        """Stores entries; on disk they become one shard."""
        if not self.writes:
            self._memory.update({key: {name: t.clone() for name, t in tensors.items()} for key, tensors in entries.items()})
        elif entries:
            name = f"{uuid.uuid4().hex}{SUFFIX}"
            groups = list(_alike(entries).values())
            tensors = {
                f"{number}{SEPARATOR}{name}": torch.stack([entries[key][name] for key in keys])
                for number, keys in enumerate(groups)
                for name in entries[keys[0]]
            }
            texts = ["".join(keys) for keys in groups]
            content = save(tensors, {KEYS: json.dumps(texts)})
            write_whole(self.folder / name, content)
            self._index.add(Shard(name, len(content), tuple(texts)))

    @property
    def shards(self) -> list[Shard]:
        """What lies on the disk."""
        return [] if self._index is None else list(self._index.shards)

    def drop(self, shard: Shard) -> None:
        """Removes a shard; its entries are found until the cache is opened anew."""
        (self.folder / shard.name).unlink(missing_ok=True)

    def _opened(self, name: str) -> "_Opened":
        if name not in self._open:
            self._open[name] = _Opened.at(self.folder / name)
            if len(self._open) > OPEN:
                self._open.popitem(last=False)
        self._open.move_to_end(name)
        return self._open[name]

    def _asked(self, name: str) -> Shard:
        """What a shard says of itself."""
        path = self.folder / name
        return Shard(name, path.stat().st_size, _Opened.at(path).keys())

    def __getstate__(self) -> dict:
        # open files do not travel to loader processes; each opens its own
        return self.__dict__ | {"_open": OrderedDict()}


@dataclass
class _Opened:
    """A shard that is open."""

    path: Path
    handle: safe_open
    names: dict[int, list[str]]

    @classmethod
    def at(cls, path: Path) -> "_Opened":
        try:
            handle = safe_open(path, framework="pt")
            names: dict[int, list[str]] = {}
            for entry in handle.keys():  # noqa: SIM118, a safetensors handle is no mapping
                group, name = entry.split(SEPARATOR, 1)
                names.setdefault(int(group), []).append(name)
        except Exception as error:
            raise _damaged(path, error) from error
        return cls(path, handle, names)

    def entry(self, group: int, place: int) -> Entry:
        try:
            return {name: self.handle.get_slice(f"{group}{SEPARATOR}{name}")[place : place + 1][0] for name in self.names[group]}
        except Exception as error:
            raise _damaged(self.path, error) from error

    def keys(self) -> tuple[str, ...]:
        try:
            return tuple(json.loads(self.handle.metadata()[KEYS]))
        except (TypeError, KeyError, ValueError) as error:
            raise _damaged(self.path, error) from error


def _alike(entries: Mapping[str, Entry]) -> dict[tuple, list[str]]:
    """The keys of entries, put together where their tensors have the same names, shapes and types."""
    groups: dict[tuple, list[str]] = {}
    for key, tensors in entries.items():
        if len(key) != 2 * WIDTH:
            raise ValueError(f"{key!r} is no key; make one by mmalign.data.digest")
        groups.setdefault(tuple((name, tensors[name].shape, tensors[name].dtype) for name in sorted(tensors)), []).append(key)
    return groups


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the cache's folder {folder}: {error.strerror}; choose another place") from error


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"the cache shard {path} cannot be read ({error}); delete it and it is made again")
