"""The findings as JSON: the layout that other programs read."""

from collections.abc import Mapping
from dataclasses import asdict
from math import isfinite
from typing import Any

from mmalign.evaluation.agreement.benchmark import Benchmark
from mmalign.evaluation.agreement.published import on
from mmalign.evaluation.agreement.result import Agreement, Findings


def record(findings: Findings, config: Mapping[str, Any], versions: Mapping[str, str], command: str) -> dict[str, Any]:
    """The content of ``report.json``. An interval is ``value, low, high``; a number that is not finite is null."""
    judgments = findings.judgments
    return {
        "judgments": None if judgments is None else asdict(judgments),
        "agreements": [_agreement(found) for found in findings.agreements],
        "published": [] if judgments is None or judgments.dataset is None else [asdict(row) for row in on(judgments.dataset)],
        "benchmarks": [_benchmark(found) for found in findings.benchmarks],
        "confidence": findings.confidence,
        "seconds": round(findings.seconds, 3),
        "versions": dict(versions),
        "config": dict(config),
        "command": command,
    }


def _agreement(found: Agreement) -> dict[str, Any]:
    return _finite(asdict(found))


def _benchmark(found: Benchmark) -> dict[str, Any]:
    published = [{"generator": name, "means": list(means)} for name, means in found.published]
    return _finite({**asdict(found), "published": published})


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not isfinite(value) else value
