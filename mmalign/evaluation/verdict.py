"""What the numbers say, in words that claim no more than they do."""

from typing import Literal

from mmalign.evaluation.result import Comparison, Evaluation
from mmalign.evaluation.statistics import Interval, WinRate

Reading = Literal["better", "no measurable difference", "worse"]
FEW = 30  # prompts below which a percentile interval is too narrow to lean on


def reading(low: float, high: float, middle: float = 0.5) -> Reading:
    """What an interval allows to say: it contains the middle, or lies above or below it."""
    if low > middle:
        return "better"
    return "worse" if high < middle else "no measurable difference"


def percent(value: float) -> str:
    """0.785 -> ``78.5%``."""
    return f"{100 * value:.1f}%"


def span(result: WinRate | Interval) -> str:
    """The ends of an interval of shares: ``72.0% to 83.5%``."""
    return f"{percent(result.low)} to {percent(result.high)}"


def verdict(evaluation: Evaluation) -> str:
    """One sentence: how the aligned model did under the reward it was aligned to."""
    result, name = evaluation.main.result, f'"{evaluation.aligned_to}"'
    rate = percent(result.win_rate)
    tail = f"({percent(evaluation.confidence).replace('.0', '')} interval {span(result)}, {counted(result.n, 'prompt')})"
    return {
        "better": f"The aligned model beats its base: it wins {rate} of comparisons under {name} {tail}.",
        "no measurable difference": f"No measurable difference under {name}: "
        f"the aligned model wins {rate} of comparisons with its base {tail}.",
        "worse": f"The aligned model is worse than its base: it wins only {rate} of comparisons under {name} {tail}.",
    }[reading(result.low, result.high)]


def remarks(evaluation: Evaluation) -> list[str]:
    """What a reader must know beside the verdict: independent rewards, the control, and every reason for doubt."""
    found = [_witnesses([row for row in evaluation.comparisons if not row.used_for_labels])]
    found += [] if evaluation.clips is None else [evaluation.clips.told]
    found.append(control_sentence(evaluation))
    found += [share_sentence(share) for share in evaluation.shares]
    if evaluation.main.result.n < FEW:
        found.append(f"With {counted(evaluation.main.result.n, 'prompt')} the intervals are too narrow; use some hundreds.")
    if evaluation.diversity and reading(evaluation.diversity.difference.low, evaluation.diversity.difference.high, 0) == "worse":
        before, after = evaluation.diversity.base.value, evaluation.diversity.aligned.value
        found.append(f"Images of one prompt are more alike than before: diversity fell by {percent(1 - after / before)}.")
    return found


def control_sentence(evaluation: Evaluation) -> str:
    """Whether base against base came out even, as it must."""
    control = evaluation.control
    rate = f"Base against base with other seeds gives {percent(control.win_rate)} ({span(control)})"
    if reading(control.low, control.high) == "no measurable difference":
        return f"{rate}: the interval contains 50%, as it must."
    runs = round(1 / (1 - evaluation.confidence))
    doubt = f"Chance does this in about one run of {runs}; repeat with another seed before trusting the other numbers."
    return f"{rate}: the interval misses 50%. {doubt}"


def share_name(share) -> str:
    """``oracle at its maximum of 5`` or ``taste at least 0.6``."""
    return f"{share.reward} {'at its maximum of' if share.is_maximum else 'at least'} {share.threshold:g}"


def share_sentence(share) -> str:
    """How the share of good images changed, and whether that is more than chance."""
    word = {"better": "a rise", "worse": "a fall"}.get(reading(share.difference.low, share.difference.high, 0), "no measurable change")
    return f"Images with {share_name(share)}: {percent(share.base.value)} before, {percent(share.aligned.value)} after ({word})."


def _witnesses(rows: list[Comparison]) -> str:
    if not rows:
        return "Every reward here made the training labels, so nothing here shows what the alignment cost elsewhere; add another reward."
    said = [f"{row.name} {reading(row.result.low, row.result.high)} ({percent(row.result.win_rate)})" for row in rows]
    return f"Under rewards that were not used for the labels: {'; '.join(said)}."


def counted(number: int, noun: str) -> str:
    """``1 pair``, ``12 pairs``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
