"""Where the entries of a cache are: lines that are only ever appended, in a file for each writer.

The shards themselves say what they hold; the lines save opening thousands of them. A shard without a line, whose writer was killed
between the two, is asked itself, and the line of a shard that was removed counts for nothing.
"""

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmalign.errors import UserError

SUFFIX = ".index"
WIDTH = 16
"""Bytes of a key, which is written as twice as many letters."""
_PLACES = 1 << 20
_GROUPS = 1 << 12


@dataclass(frozen=True)
class Shard:
    """A file of entries.

    Attributes:
        name: of the file.
        size: its bytes.
        groups: of each group of entries with tensors of the same names and shapes, the keys, one after the other, as text.
    """

    name: str
    size: int
    groups: tuple[str, ...]

    def __len__(self) -> int:
        return sum(len(keys) for keys in self.groups) // (2 * WIDTH)

    def places(self, number: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The keys of each group and where their entries are, where this is the shard of that number."""
        for group, text in enumerate(self.groups):
            keys = _bytes([text])
            yield keys, (number * _GROUPS + group) * _PLACES + np.arange(len(keys), dtype=np.int64)


class Index:
    """Shard, group and place of each key: 24 bytes an entry.

    Args:
        folder: where shards and lines are.
    """

    def __init__(self, folder: Path):
        self.folder, self.shards = folder, []
        self._read: dict[Path, int] = {}
        self._keys, self._places = np.empty(0, f"S{WIDTH}"), np.empty(0, np.int64)
        self._fresh: dict[str, int] = {}
        self._own = folder / f"{uuid.uuid4().hex}{SUFFIX}"

    def find(self, key: str) -> tuple[Shard, int, int] | None:
        """The shard of a key with the group and the place in it; None where there is none."""
        place = self._fresh.get(key)
        if place is None:
            wanted = _bytes([key])
            at = int(np.searchsorted(self._keys, wanted)[0])
            if not (self._keys[at : at + 1] == wanted).all() or at == len(self._keys):
                return None
            place = int(self._places[at])
        group, inside = divmod(place, _PLACES)
        return self.shards[group // _GROUPS], group % _GROUPS, inside

    def has(self, keys: Sequence[str]) -> np.ndarray:
        """Which of several keys are there, bool."""
        fresh = np.fromiter((key in self._fresh for key in keys), bool, len(keys))
        if not len(self._keys) or not len(keys):
            return fresh
        wanted = _bytes(keys)
        at = np.searchsorted(self._keys, wanted).clip(max=len(self._keys) - 1)
        return fresh | (self._keys[at] == wanted)

    def add(self, shard: Shard) -> None:
        """Takes a shard of this writer's in, and tells the others."""
        number = len(self.shards)
        self.shards.append(shard)
        for keys, places in shard.places(number):
            self._fresh.update(zip((bytes(key).ljust(WIDTH, b"\0").hex() for key in keys), places.tolist(), strict=True))
        line = json.dumps({"shard": shard.name, "size": shard.size, "groups": shard.groups})
        try:
            with self._own.open("a", encoding="ascii") as file:
                file.write(line + "\n")
        except OSError as error:
            raise UserError(f"cannot write {self._own}: {error.strerror}; free some space or choose another place") from error

    def refresh(self, present: Iterable[str], ask: Callable[[str], Shard]) -> None:
        """Takes in what other writers have added.

        Args:
            present: names of the shards that are in the folder.
            ask: what a shard itself says it holds.
        """
        known, present = {shard.name for shard in self.shards}, set(present)
        new = {shard.name: shard for shard in self._lines() if shard.name in present - known}
        new |= {name: ask(name) for name in sorted(present - known - new.keys())}
        if not new:
            return
        keys, places = [self._keys], [self._places]
        for shard in new.values():
            for some, where in shard.places(len(self.shards)):
                keys.append(some)
                places.append(where)
            self.shards.append(shard)
        together = np.concatenate(keys)
        order = np.argsort(together, kind="stable")
        self._keys, self._places = together[order], np.concatenate(places)[order]

    def _lines(self) -> Iterator[Shard]:
        """What the files say since they were last read; a line that is not whole yet is left."""
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            if path == self._own:
                continue
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                text = file.read()
            whole = text.rfind(b"\n") + 1
            self._read[path] = self._read.get(path, 0) + whole
            for line in text[:whole].splitlines():
                yield _shard(line, path)


def _bytes(texts: Sequence[str]) -> np.ndarray:
    """Keys as they are compared, of texts with one or more of them each."""
    return np.frombuffer(bytes.fromhex("".join(texts)), dtype=f"S{WIDTH}")


def _shard(line: bytes, path: Path) -> Shard:
    try:
        said = json.loads(line)
        return Shard(said["shard"], said["size"], tuple(said["groups"]))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"the index {path} of a cache is damaged; delete it and it is made again from what lies beside it") from error
