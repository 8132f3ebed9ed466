"""The findings as plain text for terminals: tables that fit 80 columns, sentences wrapped to what there is."""

import shutil
from textwrap import wrap

from mmalign.evaluation.agreement.accuracy import Accuracy
from mmalign.evaluation.agreement.benchmark import STYLES, Benchmark
from mmalign.evaluation.agreement.published import Published, on
from mmalign.evaluation.agreement.result import Agreement, Findings, Judgments
from mmalign.evaluation.agreement.words import (
    benchmark_notes,
    benchmark_number,
    calibrated,
    data_title,
    elsewhere,
    remarks,
    rule,
    same_rule,
    source_span,
    verdict,
)
from mmalign.evaluation.columns import aligned
from mmalign.evaluation.verdict import percent, span

_NAME = 28  # columns for the name of a source beside its numbers


def text_table(findings: Findings) -> str:
    """The scorers side by side, each of them, what was published on the same data, and the benchmark."""
    parts = [_compared(findings)] if len(findings.agreements) > 1 else []
    parts += [_agreement(found, findings.judgments, findings.confidence) for found in findings.agreements if findings.judgments]
    if findings.judgments and findings.judgments.dataset:
        parts.append(_published(findings.judgments))
    return "\n\n".join([*parts, *map(_benchmark, findings.benchmarks)])


def _compared(findings: Findings) -> str:
    head = ["scorer", "accuracy", "interval", "pairs"]
    best = sorted(findings.agreements, key=lambda found: -found.main.value.value)
    rows = [[found.name, percent(found.main.value.value), span(found.main.value), str(found.main.pairs)] for found in best]
    title = f"The scorers on {data_title(findings.judgments)}, {_short(rule(best[0].main))}:" if findings.judgments else ""
    return "\n".join([*_wrapped(title), "", *aligned([head, *rows])])


def _agreement(found: Agreement, judgments: Judgments, confidence: float) -> str:
    rows = [
        [_short(rule(row)), percent(row.value.value), span(row.value), str(row.pairs), _beside(found, row, judgments)]
        for row in found.accuracies
    ]
    head = ["rule for ties", "accuracy", "interval", "pairs", "published"]
    lines = _wrapped(verdict(found, judgments, confidence), *remarks(found, judgments))
    lines += ["", *aligned([head, *rows], text=(0, 4)), *_wrapped(*elsewhere(found, judgments.one_pair_each))]
    if found.sources:
        head = ["source", "accuracy", "interval", "decided pairs", "prompts"]
        rows = [[_cut(row.source), percent(row.value.value), source_span(row), str(row.pairs), str(row.prompts)] for row in found.sources]
        lines += ["", *aligned([head, *rows])]
    if found.calibration:
        lines += ["", *_wrapped(f"calibration: {calibrated(found.calibration, found.unit)}")]
    return "\n".join(lines)


def _beside(found: Agreement, row: Accuracy, judgments: Judgments) -> str:
    return "; ".join(percent(other.accuracy) for other in same_rule(found, row, judgments.one_pair_each)) or "-"


def _published(judgments: Judgments) -> str:
    """Under each place and rule its scorers with their accuracies."""
    places: dict[str, list[Published]] = {}
    for row in on(judgments.dataset or ""):
        places.setdefault(f"{row.source}; {rule(row)}:", []).append(row)
    lines = [f"Published on {data_title(judgments)}:"]
    for place, rows in places.items():
        lines += ["", *_wrapped(place), *_wrapped(", ".join(f"{row.scorer} {percent(row.accuracy)}" for row in rows), indent="  ")]
    return "\n".join(lines)


def _benchmark(found: Benchmark) -> str:
    own = {row.style: row for row in found.styles}
    styles = [style for style in STYLES if style in own]
    rows = [
        [_cut(found.folder, end=False), *(benchmark_number(own[style].mean, found.scale) for style in styles)],
        ["  ±", *(benchmark_number(own[style].std, found.scale) for style in styles), ""],
        *([generator, *(f"{mean:.2f}" for mean in means)] for generator, means in found.published),
    ]
    rows[0].append(benchmark_number(found.average, found.scale))
    lines = _wrapped(f"HPSv2's benchmark of generators under {found.name!r}:", *benchmark_notes(found))
    return "\n".join([*lines, "", *aligned([["generator", *STYLES, "average"], *rows])])


def _short(words: str) -> str:
    return words.replace("ties of people dropped", "ties dropped")


def _cut(name: str, end: bool = True) -> str:
    if len(name) <= _NAME:
        return name
    return f"{name[: _NAME - 3]}..." if end else f"...{name[3 - _NAME :]}"


def _wrapped(*sentences: str, indent: str = "") -> list[str]:
    width = shutil.get_terminal_size().columns
    # a name or a path is not broken, so that it can be copied
    options = {"break_long_words": False, "break_on_hyphens": False, "initial_indent": indent, "subsequent_indent": indent}
    return [line for sentence in sentences for line in wrap(sentence, width, **options)]
