"""What became of every row: numbers that each shard keeps beside its rows, and some rows with their frames for the report."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmalign.factory.gallery import strip, uri
from mmalign.factory.rrpo.mining import Mined

KEY = b"mmalign.rrpo"
NAMED = 3
"""Errors that are told one by one."""
STRIP = 8
"""Frames of a row that are shown, at most."""


@dataclass
class Tally:
    """Rows of one shard or of all.

    Attributes:
        rows: for each its form of answer and the reason against it (None = kept), and of kept ones the shares of characters in phrases.
        shown: some of them with their frames.
        named: the first errors.
    """

    rows: list[tuple[str, str | None, float | None, float | None]] = field(default_factory=list)
    shown: list[dict[str, Any]] = field(default_factory=list)
    named: list[str] = field(default_factory=list)

    def add(self, one: Mined, shown: int) -> None:
        """Counts a row, and keeps its frames unless so many of its form and reason are kept already."""
        shares = _shares(one) if one.kept else (None, None)
        self.rows.append((one.form, one.reason, *shares))
        if one.detail and len(self.named) < NAMED:
            self.named.append(one.detail)
        alike = sum(other["form"] == one.form and other["reason"] == one.reason for other in self.shown)
        if one.frames is not None and one.said and alike < shown:
            self.shown.append(_shown(one))

    def metadata(self) -> dict[bytes, bytes]:
        """What a shard's schema keeps."""
        return {KEY: json.dumps(vars(self)).encode()}

    @property
    def kept(self) -> int:
        return sum(reason is None for _, reason, *_ in self.rows)

    def reasons(self) -> Counter[str]:
        """How many are not kept, by reason."""
        return Counter(reason for _, reason, *_ in self.rows if reason is not None)

    def by_form(self) -> Mapping[str, tuple[int, int]]:
        """Rows and kept ones by the form of the right answer."""
        found: dict[str, tuple[int, int]] = {}
        for form, reason, *_ in self.rows:
            total, kept = found.get(form, (0, 0))
            found[form] = (total + 1, kept + (reason is None))
        return dict(sorted(found.items()))

    def phrase_share(self) -> tuple[float, float] | None:
        """Mean share of the characters of right and of wrong answers that lie in phrases; None where nothing is kept."""
        shares = [(one, two) for *_, one, two in self.rows if one is not None and two is not None]
        return None if not shares else (sum(one for one, _ in shares) / len(shares), sum(two for _, two in shares) / len(shares))


def total(parts: Iterable[Mapping[bytes, bytes]]) -> Tally:
    """The counts of several shards together."""
    tally = Tally()
    for part in parts:
        said = json.loads(part[KEY])
        tally.rows += map(tuple, said["rows"])
        tally.shown += said["shown"]
        tally.named = (tally.named + said["named"])[:NAMED]
    return tally


def _shares(one: Mined) -> tuple[float, float]:
    assert one.pair is not None
    texts = (one.pair.chosen, one.pair.rejected)
    first, second = (sum(stop - start for start, stop in spans) / len(text) for spans, text in zip(one.pair.spans, texts, strict=True))
    return first, second


def _shown(one: Mined) -> dict[str, Any]:
    assert one.frames is not None
    step = -(-len(one.frames.images) // STRIP)
    pair = one.pair
    return {
        "form": one.form,
        "reason": one.reason,
        "frames": uri(strip(one.frames.images[::step])),
        "seen": None if one.seen is None else uri(strip(one.seen.frames[::step])),
        "question": one.asked.question,
        "chosen": one.asked.answer if pair is None else pair.chosen,
        "rejected": one.said if pair is None else pair.rejected,
        "spans": ((), ()) if pair is None else pair.spans,
        "said": one.said,
        "origin": one.asked.origin,
    }
