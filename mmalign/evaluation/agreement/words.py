"""What the numbers of scorers are called and what they say, in words that claim no more than they do."""

from mmalign.evaluation.agreement.accuracy import Accuracy, Mean, Policy, SourceAccuracy
from mmalign.evaluation.agreement.calibration import Calibration
from mmalign.evaluation.agreement.published import KNOWN_SETS, Published
from mmalign.evaluation.agreement.result import Agreement, Judgments
from mmalign.evaluation.verdict import FEW, percent, span

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
    return (
        f'"{agreement.name}" prefers the image that people preferred in {percent(found.value.value)} of {found.pairs} decided pairs '
        f"of {data_title(judgments)} ({level} interval {span(found.value)})."
    )


def beside(agreement: Agreement, row: Accuracy, one_pair_each: bool) -> str:
    """What was published for the same scorer, version, test set and rule; else a dash."""
    same = [found for found in agreement.published if found.same_rule(row.policy, row.mean, one_pair_each)]
    return "; ".join(f"{percent(found.accuracy)} ({found.source})" for found in same) or "-"


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
    return (
        f"temperature {found.temperature:.4g} ({unit}; fitted on {found.fitted_on} pairs), expected calibration error "
        f"{percent(found.error)}, Brier {found.brier:.3f} (a coin: 0.250), log loss {found.log_loss:.3f} (a coin: 0.693)"
    )


def remarks(agreement: Agreement, judgments: Judgments) -> list[str]:
    """What a reader must know beside the accuracy."""
    found = [f"Of {judgments.pairs} pairs of {judgments.rankings} rankings people saw a tie in {judgments.ties}."]
    found += [f"{count} rows were left out: {reason}." for reason, count in judgments.left_out.items()]
    if agreement.unscored:
        found.append(f"{agreement.unscored} pairs count nowhere, as the scorer gave one of their images no score.")
    if agreement.equal:
        found.append(f"The scorer gave both images the same score in {agreement.equal} pairs.")
    if agreement.threshold is not None:
        found.append(f"Half credit: differences up to {agreement.threshold:.4g} are a tie, as chosen on {judgments.validation}.")
    else:
        found.append("Without validation_source there is no half credit and no calibration, as both are tuned on other judgments.")
    if agreement.own_weights and agreement.published:
        found.append(f"The weights here are {agreement.own_weights}; the published numbers are of the published ones.")
    if judgments.remark:
        found.append(f"Beware: {judgments.remark}.")
    if judgments.prompts < FEW:
        found.append(f"With {judgments.prompts} prompts the intervals are too narrow; use some hundreds.")
    return found
