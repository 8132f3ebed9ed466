"""The report on a run: what was kept and what was not, why, and which phrases differ, as a page and as numbers."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from mmalign.config.rrpo import RrpoConfig
from mmalign.evaluation.markup import configuration, document, section
from mmalign.evaluation.versions import this_command, versions
from mmalign.factory.gallery import facts, figure, figures, spread, table
from mmalign.factory.mined import left_out
from mmalign.factory.rrpo.tally import Tally
from mmalign.vlm.edits import Span

NAMES = {"choice": "choice", "yes_no": "yes or no", "short": "up to three words", "open": "several words"}


def page(tally: Tally, config: RrpoConfig) -> str:
    """The page, which needs nothing but itself."""
    sections = [
        _head(tally),
        section("By form of the answer", table(["form", "rows", "kept", "share"], forms(tally))),
        section("Left out", _reasons(tally)),
        section("Frames and phrases", _galleries(tally, config.shown)),
        configuration(config.model_dump(mode="json"), versions()),
        section("How to reproduce", f"<pre>{escape(this_command())}</pre>"),
    ]
    return document("RRPO data", sections)


def facts_of(tally: Tally, config: RrpoConfig) -> bytes:
    """The numbers of the page as JSON."""
    found = {
        "rows": len(tally.rows),
        "kept": tally.kept,
        "forms": {form: {"rows": total, "kept": kept} for form, (total, kept) in tally.by_form().items()},
        "left_out": dict(tally.reasons().most_common()),
        "phrase_share": tally.phrase_share(),
        "config": config.model_dump(mode="json"),
        "versions": versions(),
    }
    return json.dumps(found, indent=2, ensure_ascii=False).encode() + b"\n"


def forms(tally: Tally) -> list[list[str]]:
    """Rows of a table: form of the right answer, rows, kept, share."""
    return [[NAMES[form], f"{total:,}", f"{kept:,}", f"{kept / total:.1%}"] for form, (total, kept) in tally.by_form().items()]


def marked(text: str, spans: Sequence[Span]) -> str:
    """A text as HTML with its phrases marked.

    >>> marked("a <b>", [(2, 5)])
    'a <mark>&lt;b&gt;</mark>'
    """
    parts, last = [], 0
    for start, stop in spans:
        parts += [escape(text[last:start]), f"<mark>{escape(text[start:stop])}</mark>"]
        last = stop
    return "".join([*parts, escape(text[last:])])


def _head(tally: Tally) -> str:
    said = ["A model's own wrong answers are about spoiled films: parts covered, frames mixed. Rows have the clean ones."]
    if shares := tally.phrase_share():
        said.append(f"{shares[0]:.0%} of the characters of right answers and {shares[1]:.0%} of wrong ones lie in phrases that differ.")
    items = "".join(f"<li>{line}</li>" for line in said)
    title = f"{tally.kept:,} of {len(tally.rows):,} rows have a wrong answer to learn from"
    return f'<header><p class="kicker">RRPO data</p><h1>{title}</h1><ul>{items}</ul></header>'


def _reasons(tally: Tally) -> str:
    named = "".join(f"<li>{escape(one)}</li>" for one in tally.named)
    first = f'<p class="note">The first errors:</p><ul class="note">{named}</ul>' if named else ""
    return table(["reason", "rows"], left_out(tally)) + first


def _galleries(tally: Tally, count: int) -> str:
    reasons: list[str | None] = [None, *(reason for reason, _ in tally.reasons().most_common())]
    parts = []
    for reason in reasons:
        few = spread([one for one in tally.shown if one["reason"] == reason], count)
        note = "Above the film, below it as the model saw it." if reason is None else ""
        parts.append(figures("Kept" if reason is None else f"Left out: {reason}", [_figure(one) for one in few], note))
    return "".join(parts)


def _figure(one: Mapping[str, Any]) -> str:
    rows = [("chosen", marked(one["chosen"], one["spans"][0])), ("rejected", marked(one["rejected"], one["spans"][1]))]
    rows += [("the model said", escape(one["said"]))] if one["said"] != one["rejected"] else []
    prompt = f'<p class="prompt">{escape(one["question"])}</p>'
    origin = f'<p class="seed">{escape(one["origin"].rpartition("/")[2])}</p>'
    shown = [address for address in (one["frames"], one["seen"]) if address]
    return figure(shown, f"frames of: {one['question']}", f"{prompt}{facts(rows)}{origin}")
