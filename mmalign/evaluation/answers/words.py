"""What the numbers say, in words that claim no more than they do, and as a table for terminals."""

from mmalign.evaluation.answers.result import AnswersEvaluation, Rate
from mmalign.evaluation.columns import aligned
from mmalign.evaluation.statistics import Interval
from mmalign.evaluation.verdict import FEW, counted, percent, reading, span

GOOD = {"right": 1, "answers with such a claim": -1, "claims that name what is not there": -1}
"""Whether more is better, by name of a rate; lengths are neither."""
TELLING = 10
"""Questions below which nothing is said of a difference: a bootstrap of a handful shows no doubt where there is all of it."""


def verdict(found: AnswersEvaluation) -> str:
    """One sentence: how the aligned model did at what the alignment was for."""
    result = found.main.result
    tail = f"({percent(found.confidence).replace('.0', '')} interval {span(result)}, {counted(result.n, 'question')})"
    said = f"it wins {percent(result.win_rate)} of comparisons by {found.main.name} {tail}"
    return {
        "better": f"The aligned model beats its base: {said}.",
        "no measurable difference": f"No measurable difference between the aligned model and its base: {said}.",
        "worse": f"The aligned model is worse than its base: {said}.",
    }[reading(result.low, result.high)]


def remarks(found: AnswersEvaluation) -> list[str]:
    """What a reader must know beside the verdict."""
    said = [rate_sentence(rate) for rate in (*found.rates[:1], *found.made_up[:1])]
    tokens = found.lengths[0]
    if change(tokens) != "no measurable difference":
        said.append(f"Answers have {tokens.aligned.value:.1f} tokens, before {tokens.base.value:.1f}.")
    said += [f"Fallen: {rate_sentence(rate)}" for rate in found.rates[1:] if change(rate) == "worse"]
    if found.main.result.n < FEW:
        said.append(f"With {counted(found.main.result.n, 'question')} the intervals are too narrow; use some hundreds.")
    if found.unrated:
        said.append(f"The judge's rating of {counted(found.unrated, 'answer')} could not be read; those questions are left out of its row.")
    return said


def change(rate: Rate) -> str:
    """What the difference allows to say, turned so that better is better; of lengths, whether there is more."""
    if rate.n < TELLING:
        return "no measurable difference"
    found = reading(rate.difference.low, rate.difference.high, 0)
    turned = {"better": "worse", "worse": "better"}
    return turned.get(found, found) if GOOD.get(rate.name, 1) < 0 else found


def rate_sentence(rate: Rate) -> str:
    """``right, type color: 80.0% before, 91.0% after (+11.0 points, +4.0 to +18.0; better).``"""
    ends = f"{percent(rate.base.value)} before, {percent(rate.aligned.value)} after"
    return f"{rate.title}: {ends} ({points(rate.difference)}; {change(rate)})."


def points(difference: Interval) -> str:
    """A difference of shares in percentage points, with its interval."""
    return f"{100 * difference.value:+.1f} points, {100 * difference.low:+.1f} to {100 * difference.high:+.1f}"


def text_table(found: AnswersEvaluation) -> str:
    """Rates in rows, then win rates."""
    head = ["share of answers", "base", "aligned", "difference", "interval", "questions"]
    rows = [[rate.title, percent(rate.base.value), percent(rate.aligned.value), *_points(rate), str(rate.n)] for rate in found.rates]
    rows += [[rate.title, percent(rate.base.value), percent(rate.aligned.value), *_points(rate), str(rate.n)] for rate in found.made_up]
    wins = [[row.name, percent(row.result.win_rate), span(row.result), str(row.result.n)] for row in found.comparisons]
    lengths = [f"{rate.name} per answer: {rate.base.value:.1f} before, {rate.aligned.value:.1f} after" for rate in found.lengths]
    tables = [aligned([head, *rows]), aligned([["aligned wins by", "rate", "interval", "questions"], *wins]), lengths]
    return "\n\n".join("\n".join(lines) for lines in tables)


def _points(rate: Rate) -> list[str]:
    change = rate.difference
    return [f"{100 * change.value:+.1f}", f"{100 * change.low:+.1f} to {100 * change.high:+.1f}"]
