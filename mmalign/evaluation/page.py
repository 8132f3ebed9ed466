"""The report as one HTML page that needs nothing but itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from mmalign.evaluation import charts
from mmalign.evaluation.axes import number
from mmalign.evaluation.clips import moving
from mmalign.evaluation.curves import LOSERS, WINNERS, Event, Series, read_events, read_metrics
from mmalign.evaluation.markup import card, configuration, document, head_row, section
from mmalign.evaluation.pictures import inline
from mmalign.evaluation.record import plain
from mmalign.evaluation.result import Comparison, Evaluation, Picture
from mmalign.evaluation.statistics import Interval, WinRate
from mmalign.evaluation.verdict import control_sentence, percent, reading, remarks, share_name, span, verdict
from mmalign.evaluation.versions import this_command, versions

_CURVES = (
    ("loss", None),
    ("rewards/margins", 0.0),
    ("rewards/accuracies", 0.5),
    (WINNERS, 0.0),
    (LOSERS, 0.0),
    ("saturated", None),
)
_HEADS = ("Reward", "Base wins &harr; aligned wins", "Win rate", "Won / tied / lost", "Sign test", "Mean score")


@dataclass(frozen=True)
class Context:
    """How the result was made: resolved configuration, versions, the command line, and the numbers and events of the training log."""

    config: dict = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    command: str = ""
    metrics: Series = field(default_factory=dict)
    events: Sequence[Event] = ()

    @classmethod
    def of(cls, config: Mapping[str, Any], command: str | None, metrics: str | Path | None) -> "Context":
        """That of this machine and process.

        Args:
            config: the resolved configuration.
            command: None = this process's command line.
            metrics: a training log (``metrics.jsonl``) to draw curves from.

        Raises:
            UserError: the log is broken.
        """
        curves = (read_metrics(metrics), read_events(metrics)) if metrics else ()
        return cls(plain(config), versions(), this_command() if command is None else command, *curves)


def page(evaluation: Evaluation, context: Context) -> str:
    """The whole page, UTF-8 text."""
    sections = [
        _verdict(evaluation),
        _win_rates(evaluation),
        _checks(evaluation),
        _pictures(evaluation),
        _scores(evaluation),
        training(context.metrics, context.events),
        configuration(context.config, context.versions),
        _reproduce(evaluation, context),
    ]
    return document(f"{evaluation.aligned_to}: aligned against base", sections)


def _verdict(evaluation: Evaluation) -> str:
    result = evaluation.main.result
    kind = reading(result.low, result.high).split()[0]
    items = "".join(f"<li>{escape(line)}</li>" for line in remarks(evaluation))
    title = f'<p class="kicker">Aligned against base</p>\n<h1>{escape(verdict(evaluation))}</h1>'
    return f'<header class="{kind}">\n{title}\n<ul>{items}</ul>\n</header>\n'


def _win_rates(evaluation: Evaluation) -> str:
    scale = {_HEADS[1]: charts.scale()}
    rows = "".join(_comparison(row, row.name == evaluation.aligned_to) for row in evaluation.comparisons)
    control = _row("control", "<small>base against base</small>", evaluation.control, control=True)
    level = percent(evaluation.confidence).replace(".0", "")
    head = head_row([f"{head}{scale.get(head, '')}" for head in _HEADS])
    body = f'<tbody role="rowgroup">{rows}{control}</tbody>'
    return section(
        "Win rates",
        f'<table role="table" class="rates">{head}{body}</table>'
        "<p class=note>Each prompt is drawn by both models from the same noise; ties count half. "
        f"Bars are {level} bootstrap intervals over prompts. A bar that touches the line at 50% is no measurable difference.</p>",
    )


def _comparison(row: Comparison, main: bool) -> str:
    tags = ['<span class="tag main">aligned to this</span>'] if main else []
    if row.used_for_labels and not main:
        tags.append('<span class="tag">made the labels</span>')
    if not row.used_for_labels:
        tags.append('<span class="tag independent">not used for labels</span>')
    unit = f'<span class="unit">{escape(row.unit)}</span>' if row.unit else ""
    return _row(row.name, "".join(tags) + unit, row.result)


def _row(name: str, below: str, result: WinRate, control: bool = False) -> str:
    word = "" if control else f'<span class="word {reading(result.low, result.high).split()[0]}">{reading(result.low, result.high)}</span>'
    cells = (
        f"<strong>{percent(result.win_rate)}</strong><small>{span(result)}</small>{word}",
        f"{result.wins} / {result.ties} / {result.losses}<small>of {result.n} prompts</small>",
        _p_value(result.p_value),
        f"{number(result.base_mean)} &rarr; {number(result.aligned_mean)}<small>{_difference(result.difference)}</small>"
        f"<small>median {number(result.base_median)} &rarr; {number(result.aligned_median)}</small>",
    )
    rest = "".join(f'<td role="cell" data-label="{label}"><div>{cell}</div></td>' for label, cell in zip(_HEADS[2:], cells, strict=True))
    return (
        f'<tr role="row"{" class=control" if control else ""}><th scope="row" role="rowheader"><b>{escape(name)}</b>{below}</th>'
        f'<td role="cell" class="chart">{charts.forest(result, control)}</td>{rest}</tr>'
    )


def _checks(evaluation: Evaluation) -> str:
    cards = [_control(evaluation)]
    for share in evaluation.shares:
        body = _before_after(percent(share.base.value), percent(share.aligned.value), span(share.base), span(share.aligned))
        change = (
            f"Change {100 * share.difference.value:+.1f} points ({100 * share.difference.low:+.1f} to {100 * share.difference.high:+.1f})."
        )
        cards.append(card(f"Images with {share_name(share)}", f"{body}<p>{change} {share.n} images a side.</p>"))
    found = evaluation.diversity
    if found:
        ends = [f"{side.low:.3f} to {side.high:.3f}" for side in (found.base, found.aligned)]
        body = _before_after(f"{found.base.value:.3f}", f"{found.aligned.value:.3f}", *ends)
        change = f"Change {found.difference.value:+.3f} ({found.difference.low:+.3f} to {found.difference.high:+.3f})."
        text = f"{change} Measure: {found.metric}; {found.prompts} prompts, {found.images_per_prompt} images each."
        cards.append(card("Diversity", f"{body}<p>{escape(text)}</p>"))
    return section("Control and side effects", f'<div class="cards">{"".join(cards)}</div>')


def _control(evaluation: Evaluation) -> str:
    rate = f"{percent(evaluation.control.win_rate)}<small>{span(evaluation.control)}</small>"
    numbers = f'<dl><div class="base"><dt>base against base</dt><dd>{rate}</dd></div></dl>'
    return card("Control", f"{numbers}<p>{escape(control_sentence(evaluation))}</p>")


def _before_after(base: str, aligned: str, base_span: str, aligned_span: str) -> str:
    return (
        f'<dl><div class="base"><dt>base</dt><dd>{base}<small>{base_span}</small></dd></div>'
        f'<div class="aligned"><dt>aligned</dt><dd>{aligned}<small>{aligned_span}</small></dd></div></dl>'
    )


def _pictures(evaluation: Evaluation) -> str:
    groups = (
        ("even", "A fair sample", "Evenly spaced over all prompts, chosen before any score was known."),
        (
            "win",
            "Largest wins",
            f"Chosen because the aligned model gained most under {evaluation.aligned_to}: the best it does, not what to expect.",
        ),
        ("loss", "Largest losses", f"Chosen because the aligned model lost most under {evaluation.aligned_to}."),
    )
    parts = []
    for name, title, text in groups:
        pairs = "".join(_pair(picture, evaluation) for picture in evaluation.group(name))
        if pairs:
            parts.append(f'<h3>{title}</h3><p class=note>{escape(text)}</p><div class="pairs">{pairs}</div>')
    return section("Side by side", "".join(parts)) if parts else ""


def _pair(picture: Picture, evaluation: Evaluation) -> str:
    sides = (("base", picture.base, picture.base_scores), ("aligned", picture.aligned, picture.aligned_scores))
    seconds = evaluation.clips.seconds if evaluation.clips else 0.0
    images = "".join(_image(side, image, picture.prompt, scores[evaluation.aligned_to], seconds) for side, image, scores in sides)
    rows = "".join(_score_row(name, picture.base_scores[name], picture.aligned_scores[name]) for name in picture.base_scores)
    return (
        f'<figure>{images}<figcaption><p class="prompt" title="{escape(picture.prompt)}">{escape(picture.prompt)}</p>'
        f'<table class="scores">{rows}</table><p class="seed">prompt {picture.index}, seed {picture.seed}</p></figcaption></figure>'
    )


def _image(side: str, image: np.ndarray, prompt: str, score: float, seconds: float) -> str:
    alt = escape(f"{side} model, score {number(score)}: {prompt}")
    height, width = image.shape[-3:-1]
    pixels = ' class="small"' if max(height, width) <= 128 else ""
    source = inline(image) if image.ndim == 3 else moving(image, seconds)
    return f'<div class="side {side}"><span>{side}</span><img{pixels} src="{source}" width="{width}" height="{height}" alt="{alt}"></div>'


def _score_row(name: str, base: float, aligned: float) -> str:
    kind, mark = ("better", "&#9650;") if aligned > base else ("worse", "&#9660;") if aligned < base else ("no", "=")
    return (
        f'<tr><th scope="row">{escape(name)}</th><td>{number(base)}</td><td class="mark {kind}">{mark}</td><td>{number(aligned)}</td></tr>'
    )


def _scores(evaluation: Evaluation) -> str:
    legend = (
        '<p class="note legend"><span class="base">base</span> <span class="aligned">aligned</span> '
        "One point per picture; above the dashed line the aligned model scored higher.</p>"
    )
    figures = "".join(
        f'<figure class="plot"><figcaption>{escape(row.name)}</figcaption>'
        f"{charts.scatter(*evaluation.scores[row.reward], row.name)}{charts.histogram(*evaluation.scores[row.reward], row.name)}</figure>"
        for row in evaluation.comparisons
    )
    return section("Scores", f'{legend}<div class="plots">{figures}</div>')


def training(metrics: Series, events: Sequence[Event]) -> str:
    """Curves of the training log, and what the guard saw."""
    marks = {event.step: event.said for event in events}
    figures = "".join(
        f'<figure class="plot"><figcaption>{escape(name)}</figcaption>{charts.curve(*metrics[name], name, reference, marks)}</figure>'
        for name, reference in _CURVES
        if len(metrics.get(name, ([], []))[0]) > 1
    )
    told = "".join(f"<li>{escape(event.action)}: {escape(event.said)}</li>" for event in events)
    seen = f'<p class="note">The guard saw, where the upright lines are:</p><ul class="note">{told}</ul>' if told else ""
    return section("Training", f'<div class="plots">{figures}</div>{seen}') if figures else ""


def _reproduce(evaluation: Evaluation, context: Context) -> str:
    settings = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in evaluation.settings.items())
    seconds = ", ".join(f"{name.replace('_', ' ')} {value:.0f} s" for name, value in evaluation.seconds.items())
    command = f"<pre>{escape(context.command)}</pre>" if context.command else ""
    text = (
        "The same configuration and versions give the same pictures on the same hardware: the noise of every picture follows from the "
        "seed of the evaluation, the place of its prompt and the number of the draw. All numbers are in <code>report.json</code>, "
        "every single score in <code>scores.jsonl</code>, beside this page."
    )
    details = f"<p class=note>Settings: {escape(settings)}.<br>Time: {escape(seconds)}.</p>"
    return section("How to reproduce", f"{command}<p>{text}</p>{details}")


def _difference(change: Interval) -> str:
    return f"{change.value:+.2g} ({change.low:+.2g} to {change.high:+.2g})"


def _p_value(value: float) -> str:
    return f"p = {value:.3f}" if value >= 0.001 else "p &lt; 0.001"
