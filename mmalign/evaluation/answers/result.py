"""What an evaluation of answers found, as plain data: table, page and record are views of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from PIL import Image

from mmalign.evaluation.result import Comparison
from mmalign.evaluation.statistics import Interval

Choice = Literal["even", "win", "loss"]


@dataclass(frozen=True)
class Rate:
    """A share, or a mean, on both sides; intervals over questions, the difference (aligned minus base) over pairs.

    Attributes:
        name: what is counted.
        n: questions behind it.
        group, value: the questions it is about, such as type and color; empty = all.
    """

    name: str
    base: Interval
    aligned: Interval
    difference: Interval
    n: int
    group: str = ""
    value: str = ""

    @property
    def title(self) -> str:
        """``right``, or ``right, type color``."""
        return f"{self.name}, {self.group} {self.value}" if self.group else self.name


@dataclass(frozen=True)
class Marked:
    """One answer with its marks.

    Attributes:
        right: None where no right answer is known.
        claims, false: phrases said of those that are known, and how many of them name what is not there.
        rating: of the judge; None where there is none.
        tokens: with the end of the turn.
    """

    text: str
    tokens: int
    right: bool | None
    claims: int
    false: int
    rating: float | None = None


@dataclass(frozen=True)
class Shown:
    """A question with its pictures and both answers, for the page."""

    question: str
    answers: tuple[str, ...]
    images: tuple[Image.Image, ...]
    base: Marked
    aligned: Marked
    chosen: Choice


@dataclass(frozen=True)
class AnswersEvaluation:
    """Everything the reports show.

    Attributes:
        comparisons: win rates by what decides them, the one that the alignment was for first.
        rates: right answers, in all and by group.
        made_up: claims that name what is not there, and answers with any; empty where no phrases are known.
        lengths: tokens and words.
        rows: every question with both answers, as written to ``answers.jsonl``.
    """

    aligned_to: str
    comparisons: Sequence[Comparison]
    rates: Sequence[Rate]
    made_up: Sequence[Rate]
    lengths: Sequence[Rate]
    shown: Sequence[Shown]
    rows: Sequence[Mapping[str, object]]
    questions: int
    confidence: float = 0.95
    unrated: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def main(self) -> Comparison:
        """The comparison by what the alignment was for."""
        return next(row for row in self.comparisons if row.reward == self.aligned_to)

    def rate(self, title: str) -> Rate:
        """A rate by its title. Raises KeyError where there is none."""
        return {rate.title: rate for rate in (*self.rates, *self.made_up, *self.lengths)}[title]
