"""What an evaluation for people found, as plain data: table, page and record are views of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from mmalign.evaluation.statistics import Interval, WinRate

Group = Literal["seen", "unseen"]
"""Seen: the training had choices of theirs. Unseen: it had none."""
Against = Literal["base", "population", "others"]
"""The base; the adapter that was aligned to everybody's choices together; pictures drawn for random other people."""
AGAINST: dict[str, str] = {
    "base": "the base",
    "population": "the model aligned to everybody together",
    "others": "the same model drawing for a random other person",
}


@dataclass(frozen=True)
class Comparison:
    """What is drawn for people of a group against something else, as each of them judges.

    Attributes:
        shots: choices behind an embedding; 0 = known by name.
        prompts: drawn for each.
    """

    group: Group
    against: Against
    shots: int
    prompts: int
    result: WinRate

    @property
    def name(self) -> str:
        """``unseen people, 4 choices: over the base``."""
        known = f"{self.shots} {'choice' if self.shots == 1 else 'choices'}" if self.shots else "known by name"
        return f"{self.group} people, {known}: over {AGAINST[self.against]}"


@dataclass(frozen=True)
class PersonFound:
    """One person's results.

    Attributes:
        said: what they like, where it is known.
        rates: win rates by what they are against, intervals over prompts.
        means: the mean of the person's own scores, by what drew: base, population, personal.
    """

    name: str
    group: Group
    said: str
    rates: Mapping[str, Interval]
    means: Mapping[str, float]


@dataclass(frozen=True)
class Interpolation:
    """On the way from one person's embedding to another's; the mean over all pairs where no names are given.

    Attributes:
        shares: of the second person in the mixture, from 0 to 1.
        first, second: each person's mean score at every share.
        first_steps, second_steps: from each share to the next, the change of the mean.
    """

    names: tuple[str, str] | None
    shares: tuple[float, ...]
    first: tuple[Interval, ...]
    second: tuple[Interval, ...]
    first_steps: tuple[Interval, ...]
    second_steps: tuple[Interval, ...]

    @property
    def moves(self) -> list[Interval]:
        """All steps, those of the first person turned round: above 0 is in the direction that the mixture takes."""
        return [Interval(-step.value, -step.high, -step.low) for step in self.first_steps] + list(self.second_steps)

    @property
    def monotone(self) -> bool:
        """Whether at every step the first person's mean falls and the second's rises."""
        return all(move.value > 0 for move in self.moves)

    @property
    def turned(self) -> int:
        """Steps that go the other way by more than chance: their whole interval does."""
        return sum(move.high < 0 for move in self.moves)


@dataclass(frozen=True)
class Witness:
    """A reward that no person decides, such as whether the caption is followed: personal pictures against base and population."""

    reward: str
    group: Group
    against: Against
    result: WinRate


@dataclass(frozen=True)
class Shown:
    """One prompt's pictures, each (H, W, 3) uint8: of the base, of the population's model, and for some people by name."""

    prompt: str
    seed: int
    base: np.ndarray
    population: np.ndarray | None
    people: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class PersonalEvaluation:
    """Everything the reports show.

    Attributes:
        comparisons: the main one first: unseen people (seen ones where there are none) at ``shots``, over the base.
        shots: choices behind an embedding wherever no number is named.
        control: base against base at other seeds.
        interpolations: the mean over all pairs first; empty where none was asked for.
        rows: every score, as written to ``scores.jsonl``.
    """

    shots: int
    prompts: Sequence[str]
    comparisons: Sequence[Comparison]
    control: WinRate
    people: Sequence[PersonFound]
    interpolations: Sequence[Interpolation]
    witnesses: Sequence[Witness]
    shown: Sequence[Shown]
    rows: Sequence[Mapping[str, object]]
    confidence: float = 0.95
    seconds: dict[str, float] = field(default_factory=dict)
    settings: dict[str, object] = field(default_factory=dict)

    @property
    def main(self) -> Comparison:
        """The comparison that the evaluation is about."""
        return self.comparisons[0]

    def by_shots(self, against: str) -> list[Comparison]:
        """Unseen people over a side by the number of choices, all on the same prompts; empty where there is one number."""
        rows = [row for row in self.comparisons if (row.group, row.against) == ("unseen", against)]
        few = min((row.prompts for row in rows), default=0)
        rows = sorted((row for row in rows if row.prompts == few), key=lambda row: row.shots)
        return rows if len(rows) > 1 else []

    def find(self, group: str, against: str, shots: int | None = None) -> Comparison | None:
        """A comparison at some number of shots, the main one unless said; None where there is none."""
        wanted = (group, against, self.shots if shots is None else shots)
        return next((row for row in self.comparisons if (row.group, row.against, row.shots) == wanted), None)
