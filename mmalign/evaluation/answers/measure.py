"""From marked answers of both sides to rates, win rates and their intervals."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mmalign.evaluation.answers.questions import AskedQuestion, Match
from mmalign.evaluation.answers.result import Marked, Rate
from mmalign.evaluation.result import Comparison
from mmalign.evaluation.statistics import Interval, interval, ratio_difference, ratio_interval, widened, win_rate
from mmalign.vlm.answer import Answer

NAMES = {"right": "right answers", "grounded": "says nothing that is not there", "judge": "the judge's ratings"}
UNITS = {"right": "1 = right", "grounded": "minus the share of claims that are false", "judge": "mean rating, 1 to 5"}

Sides = tuple[Sequence[Marked], Sequence[Marked]]


def mark(question: AskedQuestion, answer: Answer, match: Match, rating: float | None = None) -> Marked:
    """An answer with its marks."""
    right = question.is_right(answer.text, match) if question.answers else None
    return Marked(answer.text.strip(), answer.tokens, right, *question.claims(answer.text), rating)


class Measured:
    """Both sides' marks, question by question.

    Args:
        sides: base and aligned.
        resamples, seed: of the bootstrap.
        confidence: of every interval.
    """

    def __init__(self, questions: Sequence[AskedQuestion], sides: Sides, seed: int = 0, resamples: int = 10_000, confidence: float = 0.95):
        self.questions, self.sides = questions, sides
        self.bootstrap: dict[str, Any] = {"seed": seed, "resamples": resamples, "confidence": confidence}

    def comparisons(self, aligned_to: str, labels: Mapping[str, bool] | None = None) -> list[Comparison]:
        """Win rates by everything that is known of both sides' answers, the one that the alignment was for first."""
        scores: dict[str, Callable[[Marked], float | None]] = {"right": _right, "grounded": _grounded, "judge": lambda one: one.rating}
        found = [(name, self._paired(score)) for name, score in scores.items()]
        rows = [
            Comparison(NAMES[name], name, win_rate(*pair, **self.bootstrap), (labels or {aligned_to: True}).get(name, False), UNITS[name])
            for name, pair in found
            if len(pair[0])
        ]
        return sorted(rows, key=lambda row: row.reward != aligned_to)

    def right(self) -> list[Rate]:
        """Right answers: in all, then by each group that has more than one value."""
        known = [place for place, one in enumerate(self.questions) if one.answers]
        if not known:
            return []
        names = dict.fromkeys(name for place in known for name in self.questions[place].groups)
        rates = [self._mean("right", _right, known)]
        for name in names:
            values = self._values(name, known)
            if len(values) > 1:
                rates += [self._mean("right", _right, places, name, value) for value, places in values.items()]
        return rates

    def made_up(self) -> list[Rate]:
        """Of all claims the share that names what is not there, and the share of answers with any such claim."""
        known = [place for place, one in enumerate(self.questions) if one.absent]
        if not known:
            return []
        false, claims = ([self._counts(side, name, known) for side in self.sides] for name in ("false", "claims"))
        ends = [_ratio(*pair, **self.bootstrap) for pair in zip(false, claims, strict=True)]
        change = ratio_difference((false[0], claims[0]), (false[1], claims[1]), **self.bootstrap)
        return [
            Rate("claims that name what is not there", *ends, change, len(known)),
            self._mean("answers with such a claim", lambda one: float(one.false > 0), known),
        ]

    def lengths(self) -> list[Rate]:
        """Mean length of the answers in tokens and in words."""
        places = range(len(self.questions))
        return [
            self._mean("tokens", lambda one: float(one.tokens), places, share=False),
            self._mean("words", lambda one: float(len(one.text.split())), places, share=False),
        ]

    def change(self, aligned_to: str) -> np.ndarray:
        """By how much each answer got better, (questions,); 0 where nothing is known of it."""
        score = {"right": _right, "grounded": _grounded, "judge": lambda one: one.rating}[aligned_to]
        pairs = [(score(base), score(aligned)) for base, aligned in zip(*self.sides, strict=True)]
        return np.array([0.0 if None in pair else pair[1] - pair[0] for pair in pairs])  # type: ignore[operator]

    def _values(self, name: str, known: Sequence[int]) -> dict[str, list[int]]:
        values: dict[str, list[int]] = {}
        for place in known:
            if (value := self.questions[place].groups.get(name)) is not None:
                values.setdefault(value, []).append(place)
        return dict(sorted(values.items(), key=lambda item: (len(item[0]), item[0]))) if name == "pictures" else values

    def _mean(self, name: str, score: Callable, places: Sequence[int], group: str = "", value: str = "", share: bool = True) -> Rate:
        base, aligned = (np.array([score(side[place]) for place in places], float) for side in self.sides)
        ends = [interval(values, **self.bootstrap) for values in (base, aligned, aligned - base)]
        if share:
            ends[:2] = [widened(end, len(places), self.bootstrap["confidence"]) for end in ends[:2]]
        return Rate(name, *ends, len(places), group, value)

    @staticmethod
    def _counts(side: Sequence[Marked], name: str, places: Sequence[int]) -> np.ndarray:
        return np.array([getattr(side[place], name) for place in places], float)

    def _paired(self, score: Callable[[Marked], float | None]) -> tuple[np.ndarray, np.ndarray]:
        """Scores of the questions for which both sides have one."""
        pairs = [(score(base), score(aligned)) for base, aligned in zip(*self.sides, strict=True)]
        known = np.array([pair for pair in pairs if None not in pair], float).reshape(-1, 2)
        return known[:, 0], known[:, 1]


def _ratio(totals: np.ndarray, counts: np.ndarray, **bootstrap: Any) -> Interval:
    """A share of things; 0 where there are none at all, as in answers that claim nothing."""
    return ratio_interval(totals, counts, **bootstrap) if counts.sum() else Interval(0.0, 0.0, 0.0)


def _right(one: Marked) -> float | None:
    return None if one.right is None else float(one.right)


def _grounded(one: Marked) -> float | None:
    return -one.false / one.claims if one.claims else None
