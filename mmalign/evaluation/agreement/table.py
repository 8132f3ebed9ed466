"""The findings as plain text tables for terminals."""

from mmalign.evaluation.agreement.benchmark import STYLES, Benchmark
from mmalign.evaluation.agreement.published import on
from mmalign.evaluation.agreement.result import Agreement, Findings, Judgments
from mmalign.evaluation.agreement.words import beside, calibrated, data_title, elsewhere, remarks, rule, source_span, verdict
from mmalign.evaluation.columns import aligned
from mmalign.evaluation.verdict import percent, span

_HEAD = ["scorer", "rule for ties", "accuracy", "interval", "pairs", "published"]


def text_table(findings: Findings) -> str:
    """Everything, scorer by scorer, then what was published on the same data."""
    parts = [_agreement(found, findings.judgments, findings.confidence) for found in findings.agreements if findings.judgments]
    if findings.judgments and findings.judgments.dataset:
        parts.append(_published(findings.judgments))
    return "\n\n".join([*parts, *map(_benchmark, findings.benchmarks)])


def _agreement(found: Agreement, judgments: Judgments, confidence: float) -> str:
    rows = [
        [found.name, rule(row), percent(row.value.value), span(row.value), str(row.pairs), beside(found, row, judgments.one_pair_each)]
        for row in found.accuracies
    ]
    lines = [verdict(found, judgments, confidence), *remarks(found, judgments), "", *aligned([_HEAD, *rows], text=(0, 1, 5))]
    lines += elsewhere(found, judgments.one_pair_each)
    if found.sources:
        head = ["source", "accuracy", "interval", "decided pairs", "prompts"]
        rows = [[row.source, percent(row.value.value), source_span(row), str(row.pairs), str(row.prompts)] for row in found.sources]
        lines += ["", *aligned([head, *rows])]
    if found.calibration:
        lines += ["", f"calibration: {calibrated(found.calibration, found.unit)}"]
    return "\n".join(lines)


def _published(judgments: Judgments) -> str:
    rows = [[row.scorer, percent(row.accuracy), rule(row), row.source] for row in on(judgments.dataset or "")]
    head = ["scorer", "accuracy", "rule for ties", "source"]
    return "\n".join([f"Published on {data_title(judgments)}:", "", *aligned([head, *rows], text=(0, 2, 3))])


def _benchmark(found: Benchmark) -> str:
    means = {row.style: f"{row.mean:.2f} ± {row.std:.2f}" for row in found.styles}
    rows = [[found.folder, *(means[style] for style in STYLES if style in means), f"{found.average:.2f}"]]
    rows += [[generator, *(f"{mean:.2f}" for mean in means)] for generator, means in found.published]
    missing = sum(row.prompts - row.images for row in found.styles)
    lines = [f"HPSv2's benchmark of generators under {found.name!r}, times {found.scale:g}; ± is over groups of 80 prompts"]
    if missing:
        lines.append(f"{missing} of {sum(row.prompts for row in found.styles)} pictures have no score and count nowhere.")
    return "\n".join([*lines, "", *aligned([["generator", *STYLES, "average"], *rows])])
