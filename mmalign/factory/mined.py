"""What becomes of rows of which preferences are made: those that are kept, and why the others are not."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from mmalign.data.responses import ResponseExample


class Judged(Protocol):
    """A row, or a prompt, with what became of it; ``reason`` says why it is not kept, None = it is."""

    @property
    def reason(self) -> str | None: ...

    def example(self) -> ResponseExample:
        """The preference, as training takes it; of one that is kept."""


One = TypeVar("One", bound=Judged)


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
