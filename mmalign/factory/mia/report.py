"""The report on a run: what was kept and what was not, why, and where the model looked, as a page and as numbers."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from mmalign.config.mia import MiaConfig
from mmalign.evaluation.axes import Axes
from mmalign.evaluation.markup import configuration, document, section
from mmalign.evaluation.versions import this_command, versions
from mmalign.factory.gallery import facts, figure, figures, spread, table
from mmalign.factory.mia.tally import Tally
from mmalign.factory.mined import left_out

NAMES = {"sequence": "sequence", "collage": "collage", "pic_in_pic": "picture in a picture"}
BINS = 25


def page(tally: Tally, config: MiaConfig) -> str:
    """The page, which needs nothing but itself."""
    sections = [
        _head(tally),
        section("By layout", table(["layout", "pictures", "prompts", "kept", "share"], layouts(tally))),
        section("Left out", _reasons(tally)),
        section("Where the model looked", _looked(tally, config)),
        section("Pictures", _galleries(tally, config.shown)),
        configuration(config.model_dump(mode="json"), versions()),
        section("How to reproduce", f"<pre>{escape(this_command())}</pre>"),
    ]
    return document("MIA-DPO data", sections)


def facts_of(tally: Tally, config: MiaConfig) -> bytes:
    """The numbers of the page as JSON."""
    found = {
        "prompts": len(tally.answers),
        "kept": tally.kept,
        "layouts": [
            dict(zip(("kind", "pictures", "prompts", "kept"), (*key, *value), strict=True)) for key, value in tally.by_layout().items()
        ],
        "left_out": dict(tally.reasons().most_common()),
        "config": config.model_dump(mode="json"),
        "versions": versions(),
    }
    return json.dumps(found, indent=2, ensure_ascii=False).encode() + b"\n"


def layouts(tally: Tally) -> list[list[str]]:
    """Rows of a table: layout, number of pictures, prompts, kept, share."""
    found = tally.by_layout().items()
    return [[NAMES[kind], str(count), f"{total:,}", f"{kept:,}", f"{kept / total:.1%}"] for (kind, count), (total, kept) in found]


def _head(tally: Tally) -> str:
    said = [
        "Chosen is the right answer of the data, rejected the model's own to the same prompt, which has several pictures.",
        "An answer is kept where little of its attention to pictures went to the one that was asked about.",
    ]
    items = "".join(f"<li>{line}</li>" for line in said)
    title = f"{tally.kept:,} of {len(tally.answers):,} answers are kept as rejected ones"
    return f'<header><p class="kicker">MIA-DPO data</p><h1>{title}</h1><ul>{items}</ul></header>'


def _reasons(tally: Tally) -> str:
    named = "".join(f"<li>{escape(one)}</li>" for one in tally.named)
    first = f'<p class="note">The first errors:</p><ul class="note">{named}</ul>' if named else ""
    note = '<p class="note">The first reason of several counts, in the order: words, attention, sureness, lengths, distance.</p>'
    return table(["reason", "answers"], left_out(tally)) + note + first


def _looked(tally: Tally, config: MiaConfig) -> str:
    plots = []
    for kind, count in tally.by_layout():
        shares = [share for k, c, _, share, _ in tally.answers if (k, c) == (kind, count) and share is not None]
        if shares:
            caption = f"{NAMES[kind]}, {count} pictures"
            plot = histogram(shares, config.thresholds[kind][count], caption)  # type: ignore[index]
            plots.append(f'<figure class="plot"><figcaption>{caption}</figcaption>{plot}</figure>')
    note = '<p class="note">Answers by the share of the attention to pictures that the one asked about got; the line is the threshold.</p>'
    return f'{note}<div class="plots">{"".join(plots)}</div>'


def histogram(shares: Sequence[float], threshold: float, name: str) -> str:
    """Answers by share, with the threshold."""
    counts, edges = np.histogram(shares, BINS, (0, 1))
    axes = Axes((0, 1), (0, float(counts.max()) * 1.05))
    places = [axes.at(0, 0)]
    for left, right, count in zip(edges[:-1], edges[1:], counts, strict=True):
        places += [axes.at(left, count), axes.at(right, count)]
    path = "M" + "L".join(f"{x} {y}" for x, y in [*places, axes.at(1, 0)]) + "Z"
    (x, bottom), (_, top) = axes.at(threshold, axes.y[0]), axes.at(threshold, axes.y[1])
    marks = f'<path class="aligned-area" d="{path}"/><line class="event" x1="{x}" x2="{x}" y1="{bottom}" y2="{top}"/>'
    below = np.mean(np.asarray(shares) <= threshold)
    return axes.draw(marks, "share", "answers", f"{name}: {below:.0%} of {len(shares)} answers up to the threshold {threshold:g}")


def _galleries(tally: Tally, count: int) -> str:
    reasons: list[str | None] = [None, *(reason for reason, _ in tally.reasons().most_common())]
    parts = []
    for reason in reasons:
        few = spread([one for one in tally.shown if one["reason"] == reason], count)
        parts.append(figures("Kept" if reason is None else f"Left out: {reason}", [_figure(one) for one in few]))
    return "".join(parts)


def _figure(one: Mapping[str, Any]) -> str:
    share = "not measured" if one["share"] is None else f"{one['share']:.3f} (kept up to {one['threshold']:g})"
    rows = [
        ("chosen", escape(one["chosen"])),
        ("rejected", escape(one["rejected"])),
        ("share", share),
        ("perplexity", f"{one['perplexity']:.3f}"),
        ("lengths, distance", f"{one['length_ratio']:.2g} times, {one['distance']:.2f}"),
    ]
    prompt = f'<p class="prompt">{escape(one["prompt"])}</p>'
    origin = f'<p class="seed">{escape(one["origin"].rpartition("/")[2])}</p>'
    return figure([one["picture"]], f"{NAMES[one['kind']]}: {one['prompt']}", f"{prompt}{facts(rows)}{origin}")
