"""The findings as one HTML page that needs nothing but itself."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from mmalign.evaluation import charts
from mmalign.evaluation.agreement.accuracy import Accuracy, SourceAccuracy
from mmalign.evaluation.agreement.benchmark import STYLES, Benchmark
from mmalign.evaluation.agreement.calibration import Calibration
from mmalign.evaluation.agreement.published import on
from mmalign.evaluation.agreement.result import Agreement, Findings, Judgments
from mmalign.evaluation.agreement.words import (
    benchmark_notes,
    benchmark_number,
    beside,
    calibrated,
    data_title,
    elsewhere,
    remarks,
    rule,
    source_span,
    verdict,
)
from mmalign.evaluation.markup import card, configuration, document, head_row, section
from mmalign.evaluation.statistics import Interval
from mmalign.evaluation.verdict import counted, percent, reading, span


def page(findings: Findings, config: Mapping[str, Any], versions: Mapping[str, str], command: str) -> str:
    """The whole page, UTF-8 text."""
    judgments, parts = findings.judgments, []
    if judgments:
        parts = _compared(findings.agreements, judgments) if len(findings.agreements) > 1 else []
        parts += [part for found in findings.agreements for part in _agreement(found, judgments, findings.confidence)]
        parts += [_published(judgments), _calibrations(findings.agreements)]
    elif findings.benchmarks:
        parts = [_header("Benchmark of generators", f"{findings.benchmarks[0].folder} under {counted(len(findings.benchmarks), 'scorer')}")]
    parts += [_benchmark(found) for found in findings.benchmarks]
    return document("Scorers against people", [*parts, configuration(config, versions), _reproduce(findings, command)])


def _header(kicker: str, title: str, items: Sequence[str] = (), kind: str = "") -> str:
    listed = f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in items)}</ul>\n" if items else ""
    return f'<header class="{kind}">\n<p class="kicker">{kicker}</p>\n<h1>{escape(title)}</h1>\n{listed}</header>\n'


def _compared(agreements: list[Agreement], judgments: Judgments) -> list[str]:
    """All scorers under one rule, the best first."""
    best = sorted(agreements, key=lambda found: -found.main.value.value)
    rows = [_row(found.name, found.main.value, span(found.main.value), {"Pairs": str(found.main.pairs)}) for found in best]
    table = _table(["Scorer", charts.scale(), "Accuracy", "Pairs"], rows)
    note = f"<p class=note>{escape(rule(best[0].main).capitalize())}.</p>"
    title = f"{len(best)} scorers beside each other on {data_title(judgments)}"
    return [_header("Agreement with people", title), section("The scorers", note + table)]


def _agreement(found: Agreement, judgments: Judgments, confidence: float) -> list[str]:
    kind = reading(found.main.value.low, found.main.value.high).split()[0]
    rows = [_accuracy(row, beside(found, row, judgments.one_pair_each)) for row in found.accuracies]
    notes = "".join(f"<p class=note>{escape(line)}</p>" for line in elsewhere(found, judgments.one_pair_each))
    table = _table(["Rule for ties", charts.scale(), "Accuracy", "Pairs", "Published"], rows)
    parts = [
        _header("Agreement with people", verdict(found, judgments, confidence), remarks(found, judgments), kind),
        section(f"Accuracy of {escape(found.name)}", table + notes),
    ]
    if found.sources:
        heads = ["Source", charts.scale(), "Accuracy", "Decided pairs", "Prompts"]
        parts.append(section(f"{escape(found.name)} by source", _table(heads, list(map(_source, found.sources)))))
    return parts


def _accuracy(row: Accuracy, published: str) -> str:
    return _row(rule(row), row.value, span(row.value), {"Pairs": str(row.pairs), "Published": published})


def _source(row: SourceAccuracy) -> str:
    return _row(row.source, row.value, source_span(row), {"Decided pairs": str(row.pairs), "Prompts": str(row.prompts)})


def _row(name: str, value: Interval, ends: str, rest: dict[str, str]) -> str:
    bar = charts.interval_bar(value, reading(value.low, value.high).split()[0], f"{name}: accuracy")
    share = f"<strong>{percent(value.value)}</strong><small>{ends}</small>"
    cells = "".join(_cell(label, escape(text)) for label, text in rest.items())
    return (
        f'<tr role="row"><th scope="row" role="rowheader"><b>{escape(name)}</b></th><td role="cell" class="chart">{bar}</td>'
        f"{_cell('Accuracy', share)}{cells}</tr>"
    )


def _cell(label: str, body: str) -> str:
    return f'<td role="cell" data-label="{label}"><div>{body}</div></td>'


def _table(heads: list[str], rows: list[str]) -> str:
    return f'<table role="table" class="rates shares">{head_row(heads)}<tbody role="rowgroup">{"".join(rows)}</tbody></table>'


def _published(judgments: Judgments) -> str:
    if judgments.dataset is None:
        return ""
    rows = [[row.scorer, percent(row.accuracy), rule(row), row.source] for row in on(judgments.dataset)]
    return section(f"Published on {escape(data_title(judgments))}", _plain(["Scorer", "Accuracy", "Rule for ties", "Source"], rows))


def _plain(heads: list[str], rows: list[list[str]], kind: str = "plain") -> str:
    lines = "".join(
        f"<tr><th scope=row>{escape(row[0])}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in row[1:])}</tr>" for row in rows
    )
    head = "".join(f"<th scope=col>{head}</th>" for head in heads)
    return f'<div class="wide"><table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def _calibrations(agreements: list[Agreement]) -> str:
    cards = "".join(_calibration(found, found.calibration) for found in agreements if found.calibration)
    note = (
        "<p class=note>The probability that the image with the higher score is preferred is taken as the sigmoid of the difference of "
        "scores, divided by a temperature fitted on other judgments. A point is a bin of decided pairs, as large as their number; on the "
        "dashed line as many pairs are right as the probability says.</p>"
    )
    return section("Calibration", f'{note}<div class="plots">{cards}</div>') if cards else ""


def _calibration(found: Agreement, calibration: Calibration) -> str:
    chart = charts.reliability([(row.confidence, row.right, row.pairs) for row in calibration.bins], found.name)
    return card(found.name, f"{chart}<p>The {escape(calibrated(calibration, found.unit))}.</p>")


def _benchmark(found: Benchmark) -> str:
    def shown(value: float) -> str:
        return benchmark_number(value, found.scale)

    own = [found.folder, *(f"{shown(row.mean)} ± {shown(row.std)}" for row in found.styles), shown(found.average)]
    rows = [own, *([name, *(f"{mean:.2f}" for mean in means)] for name, means in found.published)]
    counts = ", ".join(f"{row.style} {row.images} of {row.prompts}" for row in found.styles)
    note = " ".join([*benchmark_notes(found), f"Pictures: {counts}."])
    title = f"HPSv2's benchmark of generators under {escape(found.name)}"
    return section(title, f"<p class=note>{escape(note)}</p>{_plain(['Generator', *STYLES, 'average'], rows, 'plain numbers')}")


def _reproduce(findings: Findings, command: str) -> str:
    text = (
        "All numbers are in <code>report.json</code>, every single score in the folder <code>scores</code>, beside this page. "
        "A run with other rules takes the scores from there."
    )
    time = f"<p class=note>Time: {findings.seconds:.0f} s.</p>"
    return section("How to reproduce", f"<pre class=command>{escape(command)}</pre><p>{text}</p>{time}")
