"""The report on a run: pictures beside their neighbors, and how near they are."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from mmalign.config.realign import RealignConfig
from mmalign.evaluation.axes import Axes, around
from mmalign.evaluation.markup import configuration, document, section
from mmalign.evaluation.versions import this_command, versions
from mmalign.factory.gallery import facts, figure, figures, spread, strip, table, uri

KEY = b"mmalign.realign"
BINS = 25


@dataclass
class Tally:
    """Rows of one shard or of all.

    Attributes:
        similarities: of kept rows.
        left: rows that are not kept, by reason.
        shown: some kept rows with both pictures.
    """

    similarities: list[float] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)
    shown: list[dict[str, Any]] = field(default_factory=list)

    def show(self, images: tuple[Image.Image, Image.Image], row: Mapping[str, Any]) -> None:
        """Keeps a row with both pictures."""
        known = {name: row[name] for name in ("chosen", "rejected", "similarity", "passed", "origin")}
        self.shown.append({**known, "picture": uri(strip(images))})

    def metadata(self) -> dict[bytes, bytes]:
        """What a shard's schema keeps."""
        return {KEY: json.dumps({**vars(self), "left": dict(sorted(self.left.items()))}).encode()}

    @property
    def rows(self) -> int:
        return len(self.similarities) + self.left.total()


def total(parts: Iterable[Mapping[bytes, bytes]]) -> Tally:
    """The counts of several shards together."""
    tally = Tally()
    for part in parts:
        said = json.loads(part[KEY])
        tally.similarities += said["similarities"]
        tally.left.update(said["left"])
        tally.shown += said["shown"]
    return tally


def page(tally: Tally, config: RealignConfig) -> str:
    """The page, which needs nothing but itself."""
    shown = [_figure(one) for one in spread(tally.shown, config.shown)]
    sections = [
        f'<header><p class="kicker">Re-Align data</p><h1>{len(tally.similarities):,} of {tally.rows:,} rows have a picture to compare with'
        "</h1></header>",
        section("How near", _near(tally)),
        section("Left out", table(["reason", "rows"], left_out(tally))) if tally.left else "",
        section("Pictures", figures("Each row's own, and the nearest other one", shown)),
        configuration(config.model_dump(mode="json"), versions()),
        section("How to reproduce", f"<pre>{escape(this_command())}</pre>"),
    ]
    return document("Re-Align data", sections)


def facts_of(tally: Tally, config: RealignConfig) -> bytes:
    """The numbers of the page as JSON."""
    found = {
        "rows": tally.rows,
        "kept": len(tally.similarities),
        "similarity": float(np.mean(tally.similarities)) if tally.similarities else None,
        "left_out": dict(tally.left.most_common()),
        "config": config.model_dump(mode="json"),
        "versions": versions(),
    }
    return json.dumps(found, indent=2, ensure_ascii=False).encode() + b"\n"


def left_out(tally: Tally) -> list[list[str]]:
    """Rows of a table: reason, number."""
    return [[reason, f"{count:,}"] for reason, count in tally.left.most_common()]


def _near(tally: Tally) -> str:
    if not tally.similarities:
        return ""
    counts, edges = np.histogram(tally.similarities, BINS)
    axes = Axes(around([edges[0], edges[-1]], 0.02), (0, float(counts.max()) * 1.05))
    places = [axes.at(edges[0], 0)]
    for left, right, count in zip(edges[:-1], edges[1:], counts, strict=True):
        places += [axes.at(left, count), axes.at(right, count)]
    path = "M" + "L".join(f"{x} {y}" for x, y in [*places, axes.at(edges[-1], 0)]) + "Z"
    mean = float(np.mean(tally.similarities))
    plot = axes.draw(
        f'<path class="aligned-area" d="{path}"/>', "cosine", "rows", f"similarity of {len(tally.similarities)} rows, mean {mean:.3f}"
    )
    return f'<div class="plots"><figure class="plot"><figcaption>mean {mean:.3f}</figcaption>{plot}</figure></div>'


def _figure(one: Mapping[str, Any]) -> str:
    rows = [
        ("cosine", f"{one['similarity']:.3f}"),
        ("nearer, but the same", str(one["passed"])),
        ("chosen", escape(one["chosen"])),
        ("rejected", escape(one["rejected"])),
    ]
    origin = f'<p class="seed">{escape(one["origin"].rpartition("/")[2])}</p>'
    return figure([one["picture"]], "a picture and its neighbor", facts(rows) + origin)
