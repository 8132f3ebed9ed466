"""What the numbers of scorers are called and what they say, in words that claim no more than they do."""

import math

from mmalign.evaluation.agreement.accuracy import Accuracy, Mean, Policy, SourceAccuracy
from mmalign.evaluation.agreement.benchmark import GROUP, PUBLISHED_SCALE, Benchmark
from mmalign.evaluation.agreement.calibration import Calibration
from mmalign.evaluation.agreement.published import KNOWN_SETS, Published
from mmalign.evaluation.agreement.result import Agreement, Judgments
from mmalign.evaluation.verdict import FEW, counted, percent, span

RULES: dict[Policy, str] = {"decided": "ties of people dropped", "never_wrong": "ties never wrong", "half_credit": "ties half right"}
MEANS: dict[Mean, str] = {"pairs": "over pairs", "rankings": "over rankings"}


def rule(row: Accuracy | Published) -> str:
    """``ties of people dropped, over pairs``, or that the place does not say."""
    if row.policy is None or row.mean is None:
        return "rule not stated (unverified)"
    return f"{RULES[row.policy]}, {MEANS[row.mean]}"


def data_title(judgments: Judgments) -> str:
    """The published test set, or else the source."""
    return judgments.source if judgments.dataset is None else KNOWN_SETS[judgments.dataset].title


def verdict(agreement: Agreement, judgments: Judgments, confidence: float) -> str:
    """One sentence: how often the scorer prefers the image that people preferred."""
    found, level = agreement.main, percent(confidence).replace(".0", "")
    pairs = counted(found.pairs, "decided pair")
    return (
        f'"{agreement.name}" prefers the image that people preferred in {percent(found.value.value)} of {pairs} '
        f"of {data_title(judgments)} ({level} interval {span(found.value)})."
    )


def beside(agreement: Agreement, row: Accuracy, one_pair_each: bool) -> str:
    """What was published for the same scorer, version, test set and rule; else a dash."""
    return "; ".join(f"{percent(found.accuracy)} ({found.source})" for found in same_rule(agreement, row, one_pair_each)) or "-"


def same_rule(agreement: Agreement, row: Accuracy, one_pair_each: bool) -> list[Published]:
    """What was published for the same scorer, version, test set and rule."""
    return [found for found in agreement.published if found.same_rule(row.policy, row.mean, one_pair_each)]


def elsewhere(agreement: Agreement, one_pair_each: bool) -> list[str]:
    """What was published for the same scorer, version and test set under a rule that none of the rows has."""
    return [
        f"Published under another policy: {percent(found.accuracy)}, {rule(found)} ({found.source})."
        for found in agreement.published
        if not any(found.same_rule(row.policy, row.mean, one_pair_each) for row in agreement.accuracies)
    ]


def source_span(row: SourceAccuracy) -> str:
    """The ends of the interval, which one prompt alone does not have."""
    return span(row.value) if row.prompts > 1 else "one prompt"


def calibrated(found: Calibration, unit: str) -> str:
    """The calibration in one sentence."""
    fitted = f"fitted on {counted(found.fitted_on, 'pair')}"
    if math.isinf(found.temperature):
        return f"temperature infinite ({fitted}): there the scorer is no better than a coin, so every pair is taken to be even"
    return (
        f"temperature {found.temperature:.4g} ({unit}; {fitted}), expected calibration error "
        f"{percent(found.error)}, Brier {found.brier:.3f} (a coin: 0.250), log loss {found.log_loss:.3f} (a coin: 0.693)"
    )


def benchmark_notes(found: Benchmark) -> list[str]:
    """What a reader must know beside a table of generators."""
    times = "" if found.scale == 1 else f" times {found.scale:g}"
    notes = [f"Mean scores{times}; ± is the standard deviation of the means of groups of {GROUP} prompts."]
    asked, scored = (sum(getattr(row, key) for row in found.styles) for key in ("prompts", "images"))
    if scored < asked:
        notes.append(f"{asked - scored} of {asked} pictures have no score and count nowhere.")
    if found.own_weights and found.published:
        notes.append(f"The weights here are {found.own_weights}; the other generators were scored by the published ones.")
    return notes


def benchmark_number(value: float, scale: float) -> str:
    """A mean as it is published, with two decimals; without that scale four digits that count."""
    return f"{value:.2f}" if scale == PUBLISHED_SCALE else f"{value:.4g}"


def remarks(agreement: Agreement, judgments: Judgments) -> list[str]:
    """What a reader must know beside the accuracy."""
    pairs, rankings = counted(judgments.pairs, "pair"), counted(judgments.rankings, "ranking")
    found = [f"Of {pairs} of {rankings} people saw a tie in {judgments.ties}."]
    found += [f"{counted(count, 'row')} left out: {reason}." for reason, count in judgments.left_out.items()]
    if agreement.unscored:
        found.append(f"One of the images has no score in {counted(agreement.unscored, 'pair')}, which count nowhere.")
    if agreement.equal:
        found.append(f"The scorer gave both images the same score in {counted(agreement.equal, 'pair')}.")
    if agreement.threshold is not None:
        found.append(f"Half credit: differences up to {agreement.threshold:.4g} are a tie, as chosen on {judgments.validation}.")
    else:
        found.append("Without validation_source there is no half credit and no calibration, as both are tuned on other judgments.")
    if agreement.own_weights and agreement.published:
        found.append(f"The weights here are {agreement.own_weights}; the published numbers are of the published ones.")
    if judgments.remark:
        found.append(f"Beware: {judgments.remark}.")
    if judgments.prompts < FEW:
        found.append(f"With {counted(judgments.prompts, 'prompt')} the intervals are too narrow; use some hundreds.")
    return found
