"""What becomes of rows of which preferences are made: those that are kept, and why the others are not."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import pyarrow as pa

from mmalign.data.responses import ResponseExample


class Judged(Protocol):
    """A row, or a prompt, with what became of it; ``reason`` says why it is not kept, None = it is."""

    @property
    def reason(self) -> str | None: ...

    def example(self) -> ResponseExample:
        """The preference, as training takes it; of one that is kept."""


One = TypeVar("One", bound=Judged)


class Counts(Protocol[One]):
    """Numbers of a run, and some rows for its report."""

    def add(self, one: One, shown: int) -> None:
        """Counts one, and keeps it for the report unless so many like it are kept already."""

    def metadata(self) -> dict[bytes, bytes]:
        """What a shard's schema keeps."""

    def reasons(self) -> Counter[str]:
        """How many are not kept, by reason."""


@dataclass(frozen=True)
class Mining(Generic[One]):
    """All that were looked at, kept or not, in order."""

    all: Sequence[One]

    @property
    def kept(self) -> list[One]:
        return [one for one in self.all if one.reason is None]

    @property
    def examples(self) -> list[ResponseExample]:
        """The preferences, as ``mmalign.training.responses`` takes them."""
        return [one.example() for one in self.kept]

    def reasons(self) -> Mapping[str, int]:
        """How many were not kept, by reason, the most frequent first; equally frequent ones by name."""
        found = Counter(sorted(one.reason for one in self.all if one.reason is not None))
        return dict(found.most_common())


def shard(
    mined: Iterable[One], counts: Counts[One], shown: int, row: Callable[[One], Mapping[str, Any]], schema: Any, add: Callable[[int], None]
) -> pa.Table:
    """The rows of a shard, with its counts in the metadata.

    Args:
        shown: how many of each kind and reason are kept for the report.
        row: what is written of one that is kept.
        add: told of each that is through.
    """
    kept = []
    for one in mined:
        counts.add(one, shown)
        kept += [row(one)] if one.reason is None else []
        add(1)
    table = pa.Table.from_pylist(kept, schema=schema)
    return table.replace_schema_metadata({**(table.schema.metadata or {}), **counts.metadata()})


def left_out(counts: Counts[Any]) -> list[list[str]]:
    """Rows of a table: reason, number."""
    return [[reason, f"{count:,}"] for reason, count in counts.reasons().most_common()]
