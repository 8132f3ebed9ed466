"""An evaluation of scorers from its configuration."""

import functools
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmalign import plugins
from mmalign.config import EvaluateRewardConfig, RewardConfig
from mmalign.data import Example
from mmalign.evaluation.agreement.accuracy import Bootstrap
from mmalign.evaluation.agreement.benchmark import PUBLISHED_SCALE, Benchmark, average, benchmark_examples, summarize
from mmalign.evaluation.agreement.judging import Judged, Rankings, judge, judgments, load_rankings
from mmalign.evaluation.agreement.measure import Rules, Subject, measure
from mmalign.evaluation.agreement.page import page
from mmalign.evaluation.agreement.published_benchmark import published_rows
from mmalign.evaluation.agreement.record import record
from mmalign.evaluation.agreement.result import Agreement, Findings, Judgments
from mmalign.evaluation.agreement.saved_scores import SavedScores
from mmalign.evaluation.agreement.scoring import score_examples
from mmalign.evaluation.agreement.table import text_table
from mmalign.evaluation.record import plain
from mmalign.evaluation.versions import this_command, versions
from mmalign.evaluation.write import check_folder, write_files

Scores = list[tuple[float, ...] | None]


def run(config: EvaluateRewardConfig) -> Path:
    """Scores what has no score yet, writes the report, prints the tables; returns the report's page.

    Raises:
        UserError: the judgments, the pictures or a reward cannot be used.
    """
    findings = evaluate_rewards(config)
    print(text_table(findings))
    return write_findings(findings, config.output_dir, plain(config.model_dump(mode="json")), this_command())


def evaluate_rewards(config: EvaluateRewardConfig, progress: bool = True) -> Findings:
    """The rewards of a configuration one after another, so that one of them is in memory at a time."""
    started = time.perf_counter()
    main, validation = _judged_sources(config)
    pictures = benchmark_examples(config.benchmark_images, config.benchmark_prompts) if config.benchmark_images else {}
    check_folder(config.output_dir)
    known: Judgments | None = None
    agreements, benchmarks = [], []
    for reward in config.rewards:
        scored = _scorer(config, reward, progress)
        if main:
            judged = _judged(main, scored, reward)
            tuning = None if validation is None else _judged(validation, scored, reward)
            known = known or judgments(main, judged, config.dataset, None if validation is None else validation.examples.source)
            agreements.append(_agreement(config, reward, judged, tuning, known))
        if pictures:
            benchmarks.append(_benchmark(config, reward, pictures, scored))
    return Findings(known, agreements, benchmarks, config.confidence, time.perf_counter() - started)


def write_findings(findings: Findings, folder: Path, config: Mapping[str, Any], command: str) -> Path:
    """``report.html`` and ``report.json``; returns the page.

    Raises:
        UserError: the folder cannot be written.
    """
    made_with = versions()
    numbers = record(findings, config, made_with, command)
    files = {
        "report.html": page(findings, config, made_with, command).encode(),
        "report.json": (json.dumps(numbers, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode(),
    }
    write_files(folder, files)
    return folder / "report.html"


def _judged_sources(config: EvaluateRewardConfig) -> tuple[Rankings | None, Rankings | None]:
    if config.source is None:
        return None, None
    main = load_rankings(config.source, config.reader, config.columns, config.split, config.limit, config.by)
    if config.validation_source is None and config.validation_split is None:
        return main, None
    other = config.validation_source or config.source
    return main, load_rankings(other, config.reader, config.columns, config.validation_split, None, [])


def _scorer(config: EvaluateRewardConfig, reward: RewardConfig, progress: bool) -> Callable[[Any], Scores]:
    """Scores of examples by one reward, which is built once, and only if there is something to score."""
    saved = SavedScores(config.output_dir / "scores", reward.title, {"name": reward.name, **reward.fields()})
    build = functools.cache(reward.build)
    return lambda examples: score_examples(build, examples, saved, config.on_broken, reward.title if progress else None)


def _judged(found: Rankings, scored: Callable[[Any], Scores], reward: RewardConfig) -> Judged:
    return judge(found, scored(found.examples), plugins.load(reward.package, reward.name).higher_is_better)


def _agreement(
    config: EvaluateRewardConfig, reward: RewardConfig, judged: Judged, validation: Judged | None, known: Judgments
) -> Agreement:
    subject = Subject(reward.title, reward.name, _unit(reward), reward.fields(), _own_weights(reward))
    rules = Rules(config.thresholds, config.bins, Bootstrap(config.seed, config.resamples, config.confidence))
    return measure(subject, judged.rankings, judged.pairs, None if validation is None else validation.pairs, known.dataset, rules)


def _own_weights(reward: RewardConfig) -> str | None:
    known = type(reward).model_fields.get("pretrained")
    given = reward.fields().get("pretrained")
    return None if known is None or given == known.default else str(given)


def _unit(reward: RewardConfig) -> str:
    unit = plugins.load(reward.package, reward.name).unit
    return unit if isinstance(unit, str) else "units of the score"


def _benchmark(
    config: EvaluateRewardConfig, reward: RewardConfig, pictures: Mapping[str, list[Example]], scored: Callable[[Any], Scores]
) -> Benchmark:
    scale = config.benchmark_scale or (PUBLISHED_SCALE if reward.name == "hpsv2" else 1.0)
    scores = {style: [own[0] for own in scored(examples) if own is not None] for style, examples in pictures.items()}
    return Benchmark(
        name=reward.title,
        folder=str(config.benchmark_images),
        scale=scale,
        styles=[summarize(style, scores[style], len(examples), scale) for style, examples in pictures.items()],
        average=average(list(scores.values()), scale),
        published=published_rows(reward.name, reward.fields()) if scale == PUBLISHED_SCALE else [],
        own_weights=_own_weights(reward),
    )
