"""What became of every prompt: numbers that each shard keeps beside its rows, and some with their pictures for the report."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmalign.factory.gallery import strip, uri
from mmalign.factory.mia.mining import Mined

KEY = b"mmalign.mia"
NAMED = 3
"""Errors that are told one by one."""


@dataclass
class Tally:
    """Prompts of one shard or of all.

    Attributes:
        answers: for each prompt its kind, number of pictures, reason against it (None = kept), share and perplexity.
        shown: some of them with their pictures.
        named: the first errors.
    """

    answers: list[tuple[str, int, str | None, float | None, float | None]] = field(default_factory=list)
    shown: list[dict[str, Any]] = field(default_factory=list)
    named: list[str] = field(default_factory=list)

    def add(self, one: Mined, shown: int) -> None:
        """Counts a prompt, and keeps its pictures unless so many of its kind and reason are kept already."""
        found = one.measures
        self.answers.append((one.request.kind, one.request.count, one.reason, found and found.share, found and found.perplexity))
        if one.detail and len(self.named) < NAMED:
            self.named.append(one.detail)
        alike = sum(other["kind"] == one.request.kind and other["reason"] == one.reason for other in self.shown)
        if found is not None and alike < shown:
            self.shown.append(_shown(one))

    def metadata(self) -> dict[bytes, bytes]:
        """What a shard's schema keeps."""
        return {KEY: json.dumps(vars(self)).encode()}

    @property
    def kept(self) -> int:
        return sum(reason is None for _, _, reason, *_ in self.answers)

    def reasons(self) -> Counter[str]:
        """How many are not kept, by reason."""
        return Counter(reason for _, _, reason, *_ in self.answers if reason is not None)

    def by_layout(self) -> Mapping[tuple[str, int], tuple[int, int]]:
        """Prompts and kept ones by kind and number of pictures, in the order of the run."""
        found: dict[tuple[str, int], tuple[int, int]] = {}
        for kind, count, reason, *_ in self.answers:
            total, kept = found.get((kind, count), (0, 0))
            found[kind, count] = (total + 1, kept + (reason is None))
        return found


def total(parts: Iterable[Mapping[bytes, bytes]]) -> Tally:
    """The counts of several shards together."""
    tally = Tally()
    for part in parts:
        said = json.loads(part[KEY])
        tally.answers += map(tuple, said["answers"])
        tally.shown += said["shown"]
        tally.named = (tally.named + said["named"])[:NAMED]
    return tally


def _shown(one: Mined) -> dict[str, Any]:
    assert one.made is not None
    assert one.measures is not None
    return {
        "kind": one.request.kind,
        "reason": one.reason,
        "picture": uri(strip(one.made.images, one.made.target, one.made.box)),
        "prompt": one.made.prompt(),
        "chosen": one.asked.answer,
        "rejected": one.rejected,
        "origin": one.asked.origin,
        **vars(one.measures),
    }
