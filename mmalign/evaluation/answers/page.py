"""The findings as one HTML page that needs nothing but itself."""

from collections.abc import Sequence
from html import escape

import numpy as np

from mmalign.evaluation import charts
from mmalign.evaluation.answers.result import AnswersEvaluation, Choice, Marked, Rate, Shown
from mmalign.evaluation.answers.words import change, points, remarks, verdict
from mmalign.evaluation.markup import card, configuration, document, head_row, section
from mmalign.evaluation.page import Context, training
from mmalign.evaluation.pictures import inline
from mmalign.evaluation.result import Comparison
from mmalign.evaluation.verdict import percent, reading, span

GROUPS: Sequence[tuple[Choice, str, str]] = (
    ("even", "A fair sample", "Evenly spaced over all questions, chosen before any answer was known."),
    ("win", "Largest wins", "Chosen because the aligned model gained most: the best it does, not what to expect."),
    ("loss", "Largest losses", "Chosen because the aligned model lost most."),
)


def page(found: AnswersEvaluation, context: Context) -> str:
    """The whole page, UTF-8 text."""
    sections = [
        _header(found),
        _rates(found),
        _wins(found),
        _cards(found),
        _examples(found),
        training(context.metrics, context.events),
        configuration(context.config, context.versions),
        _reproduce(found, context),
    ]
    return document("Answers: aligned against base", sections)


def _header(found: AnswersEvaluation) -> str:
    result = found.main.result
    items = "".join(f"<li>{escape(line)}</li>" for line in remarks(found))
    title = f'<p class="kicker">Aligned against base, {found.questions} questions</p>\n<h1>{escape(verdict(found))}</h1>'
    return f'<header class="{reading(result.low, result.high).split()[0]}">\n{title}\n<ul>{items}</ul>\n</header>\n'


def _rates(found: AnswersEvaluation) -> str:
    rates = [*found.rates, *found.made_up]
    if not rates:
        return ""
    text = "Bars are the aligned model's. Both sides answer the same questions, so that the interval of the difference is over pairs."
    heads = ["Of answers", charts.scale(), "Aligned", "Base", "Difference", "Questions"]
    return section("Right answers and made-up ones", _table(heads, [_rate(rate) for rate in rates]) + f"<p class=note>{text}</p>")


def _rate(rate: Rate) -> str:
    kind = change(rate)
    word = f'<span class="word {kind.split()[0]}">{kind}</span>'
    cells = {
        "Aligned": f"<strong>{percent(rate.aligned.value)}</strong><small>{span(rate.aligned)}</small>",
        "Base": f"{percent(rate.base.value)}<small>{span(rate.base)}</small>",
        "Difference": f"{word}<small>{points(rate.difference)}</small>",
        "Questions": str(rate.n),
    }
    return _row(rate.title, charts.interval_bar(rate.aligned, kind.split()[0], rate.title), cells)


def _wins(found: AnswersEvaluation) -> str:
    heads = ["Decided by", f"Base wins &harr; aligned wins{charts.scale()}", "Win rate", "Won / tied / lost", "Sign test"]
    note = "<p class=note>Each question is answered by both models, by greedy decoding; ties count half.</p>"
    return section("Win rates", _table(heads, [_win(row, row.reward == found.aligned_to) for row in found.comparisons]) + note)


def _win(row: Comparison, main: bool) -> str:
    result, kind = row.result, reading(row.result.low, row.result.high)
    word = f'<span class="word {kind.split()[0]}">{kind}</span>'
    cells = {
        "Win rate": f"<strong>{percent(result.win_rate)}</strong><small>{span(result)}</small>{word}",
        "Won / tied / lost": f"{result.wins} / {result.ties} / {result.losses}<small>of {result.n} questions</small>",
        "Sign test": f"p = {result.p_value:.3f}" if result.p_value >= 0.001 else "p &lt; 0.001",
    }
    tag = '<span class="tag main">aligned to this</span>' if main else ""
    return _row(row.name, charts.forest(result), cells, f'{tag}<span class="unit">{escape(row.unit)}</span>')


def _cards(found: AnswersEvaluation) -> str:
    cards = []
    for rate in found.lengths:
        ends = [f"{end.low:.2f} to {end.high:.2f}" for end in (rate.base, rate.aligned)]
        sides = "".join(
            f'<div class="{side}"><dt>{side}</dt><dd>{value.value:.2f}<small>{end}</small></dd></div>'
            for side, value, end in (("base", rate.base, ends[0]), ("aligned", rate.aligned, ends[1]))
        )
        moved = f"Change {rate.difference.value:+.2f} ({rate.difference.low:+.2f} to {rate.difference.high:+.2f})."
        cards.append(card(f"{rate.name.capitalize()} per answer", f"<dl>{sides}</dl><p>{moved}</p>"))
    return section("Length", f'<div class="cards">{"".join(cards)}</div>')


def _examples(found: AnswersEvaluation) -> str:
    parts = []
    for name, title, text in GROUPS:
        figures = "".join(_figure(one) for one in found.shown if one.chosen == name)
        if figures:
            parts.append(f'<h3>{title}</h3><p class=note>{escape(text)}</p><div class="pairs asked">{figures}</div>')
    return section("Questions and answers", "".join(parts)) if parts else ""


def _figure(one: Shown) -> str:
    images = "".join(f'<img src="{inline(np.asarray(image))}" alt="picture {number}">' for number, image in enumerate(one.images, start=1))
    truth = f'<p class="seed">right: {escape(" or ".join(one.answers))}</p>' if one.answers else ""
    sides = "".join(_said(name, side) for name, side in (("base", one.base), ("aligned", one.aligned)))
    question = escape(one.question.replace("<image>", " ").strip())
    return f'<figure><div class="shown">{images}</div><figcaption><p class="prompt">{question}</p>{truth}</figcaption>{sides}</figure>'


def _said(name: str, side: Marked) -> str:
    known = {True: ("better", "&#10003;"), False: ("worse", "&#10007;"), None: ("no", "")}
    kind, mark = known[side.right]
    notes = [f"{side.false} of {side.claims} claims made up"] if side.claims else []
    notes += [f"rated {side.rating:.1f}"] if side.rating is not None else []
    text = f'{escape(side.text)} <b class="mark {kind}">{mark}</b>'
    return f'<div class="side {name}"><span>{name}</span>{text}<p class="seed">{escape(", ".join(notes))}</p></div>'


def _row(name: str, bar: str, cells: dict[str, str], below: str = "") -> str:
    rest = "".join(f'<td role="cell" data-label="{label}"><div>{body}</div></td>' for label, body in cells.items())
    head = f'<th scope="row" role="rowheader"><b>{escape(name)}</b>{below}</th>'
    return f'<tr role="row">{head}<td role="cell" class="chart">{bar}</td>{rest}</tr>'


def _table(heads: list[str], rows: list[str]) -> str:
    return f'<table role="table" class="rates shares">{head_row(heads)}<tbody role="rowgroup">{"".join(rows)}</tbody></table>'


def _reproduce(found: AnswersEvaluation, context: Context) -> str:
    command = f"<pre class=command>{escape(context.command)}</pre>" if context.command else ""
    seconds = ", ".join(f"{name.replace('_', ' ')} {value:.0f} s" for name, value in found.seconds.items())
    text = "All numbers are in <code>report.json</code>, every answer in <code>answers.jsonl</code>, beside this page."
    return section("How to reproduce", f"{command}<p>{text}</p><p class=note>Time: {escape(seconds)}.</p>")
