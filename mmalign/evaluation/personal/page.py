"""The findings as one HTML page that needs nothing but itself."""

from collections.abc import Sequence
from html import escape

import numpy as np

from mmalign.evaluation import charts
from mmalign.evaluation.markup import configuration, document, head_row, section
from mmalign.evaluation.page import Context, training
from mmalign.evaluation.personal.charts import legend, lines
from mmalign.evaluation.personal.grid import cells, columns
from mmalign.evaluation.personal.result import AGAINST, Interpolation, PersonalEvaluation, PersonFound, Shown
from mmalign.evaluation.personal.words import control_sentence, interpolation_sentence, remarks, steps_sentence, verdict
from mmalign.evaluation.pictures import inline
from mmalign.evaluation.statistics import Interval, WinRate
from mmalign.evaluation.verdict import percent, reading, span


def page(found: PersonalEvaluation, context: Context) -> str:
    """The whole page, UTF-8 text."""
    sections = [
        _header(found),
        _rates(found),
        _shots(found),
        _pictures(found),
        _interpolations(found),
        _people(found),
        _checks(found),
        training(context.metrics, context.events),
        configuration(context.config, context.versions),
        _reproduce(found, context),
    ]
    return document("Pictures for people", sections)


def _header(found: PersonalEvaluation) -> str:
    result = found.main.result
    items = "".join(f"<li>{escape(line)}</li>" for line in remarks(found))
    title = f'<p class="kicker">Pictures for people, judged by each of them</p>\n<h1>{escape(verdict(found))}</h1>'
    return f'<header class="{reading(result.low, result.high).split()[0]}">\n{title}\n<ul>{items}</ul>\n</header>\n'


def _rates(found: PersonalEvaluation) -> str:
    rows = "".join(_row(row.name, row.result) for row in found.comparisons if (row.shots, row.prompts) == (found.shots, len(found.prompts)))
    note = (
        "Everybody's pictures are drawn for the same prompts from the same noise, and each person judges their own. Ties count half. Bars "
        "are bootstrap intervals over people and prompts at once. Unseen people: the training had no choice of theirs. People won: those "
        "whose pictures win more than half of their prompts. A random other person: the mean over all others of the group."
    )
    return section("Win rates", _table(rows) + f"<p class=note>{note}</p>")


def _table(rows: str) -> str:
    heads = ["For whom, over what", f"Other wins &harr; own wins{charts.scale()}", "Win rate", "People won / even / lost", "Mean score"]
    return f'<table role="table" class="rates">{head_row(heads)}<tbody role="rowgroup">{rows}</tbody></table>'


def _row(name: str, result: WinRate, control: bool = False) -> str:
    kind = reading(result.low, result.high)
    word = "" if control else f'<span class="word {kind.split()[0]}">{kind}</span>'
    change = result.difference
    cells = {
        "Win rate": f"<strong>{percent(result.win_rate)}</strong><small>{span(result)}</small>{word}",
        "People won / even / lost": f"{result.wins} / {result.ties} / {result.losses}<small>of {result.n} people</small>",
        "Mean score": f"{result.base_mean:.3g} &rarr; {result.aligned_mean:.3g}"
        f"<small>{change.value:+.2g} ({change.low:+.2g} to {change.high:+.2g})</small>",
    }
    rest = "".join(f'<td role="cell" data-label="{label}"><div>{body}</div></td>' for label, body in cells.items())
    return (
        f'<tr role="row"{" class=control" if control else ""}><th scope="row" role="rowheader"><b>{escape(name)}</b></th>'
        f'<td role="cell" class="chart">{charts.forest(result, control)}</td>{rest}</tr>'
    )


def _shots(found: PersonalEvaluation) -> str:
    figures = [_by_shots(found, against) for against in ("base", "population")]
    note = "<p class=note>How much a person has to show: the same people, prompts and noise, embedded from so many of their choices.</p>"
    return section("By the number of choices", f'{note}<div class="plots">{"".join(figures)}</div>') if any(figures) else ""


def _by_shots(found: PersonalEvaluation, against: str) -> str:
    rows = found.by_shots(against)
    if not rows:
        return ""
    means = [Interval(row.result.win_rate, row.result.low, row.result.high) for row in rows]
    drawn = lines([row.shots for row in rows], {"own": means}, "choices shown", "win rate", reference=0.5)
    heads = "<tr><th>choices shown</th><th>win rate</th><th>interval</th></tr>"
    cells = "".join(
        f"<tr><th scope=row>{row.shots}</th><td>{percent(row.result.win_rate)}</td><td>{span(row.result)}</td></tr>" for row in rows
    )
    table = f'<table class="plain"><thead>{heads}</thead><tbody>{cells}</tbody></table>'
    return f'<figure class="plot"><figcaption>over {AGAINST[against]}, {rows[0].prompts} prompts</figcaption>{drawn}{table}</figure>'


def _pictures(found: PersonalEvaluation) -> str:
    if not found.shown:
        return ""
    said = {person.name: person.said for person in found.people}
    heads = "".join(f'<th scope="col">{escape(name)}<small>{escape(said.get(name, ""))}</small></th>' for name in columns(found.shown))
    rows = "".join(_picture_row(row, columns(found.shown)) for row in found.shown)
    note = "A row is one prompt and one noise, evenly spaced over all prompts and people, chosen before any score was known."
    table = f'<table class="people"><thead><tr><th>prompt</th>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    return section("Pictures", f'<p class=note>{note}</p><div class="wide">{table}</div>')


def _picture_row(row: Shown, names: Sequence[str]) -> str:
    images = "".join(f"<td>{_image(name, image, row.prompt)}</td>" for name, image in zip(names, cells(row), strict=True))
    return f'<tr><th scope="row">{escape(row.prompt)}<small>seed {row.seed}</small></th>{images}</tr>'


def _image(name: str, image: np.ndarray, prompt: str) -> str:
    pixels = ' class="small"' if max(image.shape[:2]) <= 128 else ""
    return f'<img{pixels} src="{inline(image)}" width="{image.shape[1]}" height="{image.shape[0]}" alt="{escape(f"{name}: {prompt}")}">'


def _interpolations(found: PersonalEvaluation) -> str:
    if not found.interpolations:
        return ""
    figures = "".join(_way(way) for way in found.interpolations)
    note = escape(interpolation_sentence(found.interpolations[0]))
    return section("Between two people", f'<p class=note>{note}</p><div class="plots">{figures}</div>')


def _way(way: Interpolation) -> str:
    names = way.names or ("first of a pair", "second of a pair")
    title = "all pairs" if way.names is None else f"{names[0]} to {names[1]}"
    drawn = lines(way.shares, {names[0]: way.first, names[1]: way.second}, "share of the second", "mean score")
    return f'<figure class="plot"><figcaption>{escape(title)}: {escape(steps_sentence(way))}</figcaption>{legend(names)}{drawn}</figure>'


def _people(found: PersonalEvaluation) -> str:
    against = [side for side in AGAINST if any(side in person.rates for person in found.people)]
    ordered = sorted(found.people, key=lambda person: (person.group != "unseen", -person.rates["base"].value, person.name))
    heads = "".join(f"<th>over {side}</th>" for side in against) + "<th>mean score: base &rarr; own</th>"
    rows = "".join(_person(person, against) for person in ordered)
    note = (
        "Unseen people first, and of each group the highest win rate over the base first. Over base, population, others: how often what is "
        f"drawn for the person wins, as the person judges, on {len(found.prompts)} prompts, with the interval over prompts. Mean score: in "
        "the units of the judge."
    )
    table = f'<table class="plain"><thead><tr><th>person</th><th>likes</th><th>group</th>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    return section("Every person", f'<p class=note>{note}</p><div class="wide">{table}</div>')


def _person(person: PersonFound, against: Sequence[str]) -> str:
    rates = "".join(_person_rate(person.rates.get(side)) for side in against)
    means = f"<td>{person.means['base']:.3g} &rarr; {person.means['personal']:.3g}</td>"
    return f"<tr><th scope=row>{escape(person.name)}</th><td>{escape(person.said)}</td><td>{person.group}</td>{rates}{means}</tr>"


def _person_rate(rate: Interval | None) -> str:
    return "<td></td>" if rate is None else f"<td>{percent(rate.value)}<small>{span(rate)}</small></td>"


def _checks(found: PersonalEvaluation) -> str:
    rows = _row("control: base over base", found.control, control=True)
    rows += "".join(_row(f"{row.reward}, {row.group} people: over {AGAINST[row.against]}", row.result) for row in found.witnesses)
    note = (
        escape(control_sentence(found)) + " Rewards here are decided by nobody's taste: they show what drawing for people costs elsewhere."
    )
    return section("Control and side effects", _table(rows) + f"<p class=note>{note}</p>")


def _reproduce(found: PersonalEvaluation, context: Context) -> str:
    command = f"<pre class=command>{escape(context.command)}</pre>" if context.command else ""
    seconds = ", ".join(f"{name.replace('_', ' ')} {value:.0f} s" for name, value in found.seconds.items())
    text = (
        "The same configuration and versions give the same pictures on the same hardware. All numbers are in <code>report.json</code>, "
        "what each person thought of every picture in <code>scores.jsonl</code>, beside this page."
    )
    return section("How to reproduce", f"{command}<p>{text}</p><p class=note>Time: {escape(seconds)}.</p>")
