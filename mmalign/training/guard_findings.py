"""What the guard can find in the numbers of a run, each with its words and a remedy."""

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from mmalign.config import GuardConfig
from mmalign.training import guard_statistics as statistics
from mmalign.training.guard_statistics import RECENT
from mmalign.training.metrics import Reading

START = 20
"""Steps that say where a run began, and the fewest that a mean is formed of."""
WATCHED = ("loss", "grad_norm", "saturated", "errors/chosen", "ref_errors/chosen", "rewards/margins", "implicit_acc")
NAMES = {"loss": "loss", "grad_norm": "gradient norm"}
"""What can jump, in words."""


@dataclass(frozen=True)
class Finding:
    """What was seen.

    Attributes:
        kind: what it is.
        step: the last step that it was seen in.
        seen: it as a clause.
        more: what else there is to know, as a clause.
        remedy: what a user can do, as a clause.
        grave: whether the run should be changed; else it is only told.
    """

    kind: Literal["not finite", "spike", "winner error", "saturated"]
    step: int
    seen: str
    more: str
    remedy: str
    grave: bool = True

    def __str__(self) -> str:
        return f"{self.seen} at step {self.step}{self.more and ', '}{self.more}; {self.remedy}"


@dataclass
class Window:
    """Numbers of the last steps, and of the first ones of the run, by name.

    Attributes:
        reference: whether the method has a reference, which is where the run began.
    """

    config: GuardConfig
    reference: bool
    recent: dict[str, deque[float]] = field(init=False)
    start: dict[str, list[float]] = field(init=False)

    def __post_init__(self) -> None:
        self.recent = {name: deque(maxlen=self.config.window) for name in WATCHED}
        self.start = {name: [] for name in WATCHED}

    def add(self, numbers: dict[str, float]) -> None:
        """The numbers of the next step; a gradient of 0 is that of a step which the loss scale of fp16 skipped."""
        for name in WATCHED:
            if name in numbers and not (name == "grad_norm" and numbers[name] == 0):
                self.recent[name].append(numbers[name])
                if len(self.start[name]) < START:
                    self.start[name].append(numbers[name])

    def known(self, name: str) -> bool:
        """Whether there are enough numbers of a name."""
        return len(self.recent[name]) >= min(START, self.config.window)


def not_finite(reading: Reading, name: str) -> Finding:
    """A loss, a gradient or another number of a step is none."""
    rest = f" and {len(reading.origins) - 4} more" if len(reading.origins) > 4 else ""
    rows = f"on the batch of {'; '.join(reading.origins[:4])}{rest}"
    return Finding("not finite", reading.step, f"{name} was not a finite number", rows, "look at these rows, or lower train.learning_rate")


def spike(window: Window, step: int, name: str) -> Finding | None:
    """The loss or the gradient norm has jumped, and stays up."""
    values, factor = list(window.recent[name]), window.config.spike
    if factor is None or len(values) < window.config.window // 2 + RECENT:
        return None
    found = statistics.jump(values, window.start[name], factor)
    if found is None:
        return None
    seen = f"the {NAMES[name]} jumped from its usual {found.usual:.3g} to {found.value:.3g}"
    return Finding("spike", step, seen, "", "lower train.learning_rate or train.max_grad_norm, or warm up longer")


def winner_error(window: Window, step: int) -> Finding | None:
    """The preferred pictures are predicted worse than the reference did, or, without one, than at the run's start.

    The last steps are looked at alone too: in a mean with those before, a fast rise shows late, and its slope counts as noise.
    """
    limit, mine, theirs = window.config.winner_error, "errors/chosen", "ref_errors/chosen"
    if limit is None or not window.known(mine):
        return None
    paired, errors = window.known(theirs), list(window.recent[mine])
    ref_errors, start = list(window.recent[theirs]), window.start[mine]
    for steps in (len(errors), START):
        if paired and not any(ref_errors[-steps:]):
            continue  # single pictures, none of which was a preferred one
        grown = statistics.paired_rise(errors[-steps:], ref_errors[-steps:]) if paired else statistics.rise(errors[-steps:], start)
        if grown.beyond(limit, window.config.certainty):
            against = "the reference's" if paired else "that of the run's start"
            seen = f"the winners' error was {grown.value:.0%} (give or take {grown.error:.0%}) above {against}"
            firmer = "raise method.beta, or put a method for pairs into sdpo" if window.reference else "or train fewer steps"
            remedy = f"the model unlearns the preferred pictures too: lower train.learning_rate, {firmer}"
            return Finding("winner error", step, seen, margin(window), remedy)
    return None


def margin(window: Window) -> str:
    """What became of the margin meanwhile, as a clause; empty where none is formed."""
    name = "rewards/margins"
    if not window.known(name):
        return ""
    before = 0.0 if window.reference else statistics.mean(window.start[name]).value
    now = statistics.mean(window.recent[name])
    return f"while the margin went from {before:.3g} to {now.value:.3g} (give or take {now.error:.2g})"


def saturated(window: Window, step: int) -> Finding | None:
    """Nearly all pairs are where the method's sigmoid is flat.

    Without a reference they can be there from the start, by the scale of the method, and no rate changes that: it is told, no more.
    """
    limit = window.config.saturated
    if limit is None or not window.known("saturated"):
        return None
    share = statistics.mean(window.recent["saturated"])
    if not share.beyond(limit, window.config.certainty):
        return None
    order = "implicit_acc"
    right = f"{statistics.mean(window.recent[order]).value:.0%} of all in the right order" if window.known(order) else ""
    flat = "the scale of the method is too large for the differences of these errors"
    remedy = "lower train.learning_rate, or stop here" if window.reference else flat
    return Finding("saturated", step, f"{share.value:.0%} of the pairs were saturated", right, remedy, grave=window.reference)
