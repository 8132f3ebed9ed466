"""What an evaluation found, as plain data: the reports are views of it."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from mmalign.evaluation.statistics import Interval, WinRate
from mmalign.frames import said

Group = Literal["even", "win", "loss"]


@dataclass(frozen=True)
class Comparison:
    """Base against aligned under one reward. ``used_for_labels`` is false where the reward is an independent witness."""

    name: str
    reward: str
    result: WinRate
    used_for_labels: bool
    unit: str = ""


@dataclass(frozen=True)
class Share:
    """Share of images that score ``threshold`` or more; intervals over prompts. ``is_maximum``: the reward goes no higher."""

    reward: str
    threshold: float
    is_maximum: bool
    base: Interval
    aligned: Interval
    difference: Interval
    n: int


@dataclass(frozen=True)
class Diversity:
    """How far apart the images of one prompt are; a large loss means that the aligned model repeats itself."""

    metric: str
    base: Interval
    aligned: Interval
    difference: Interval
    prompts: int
    images_per_prompt: int


@dataclass(frozen=True)
class Clips:
    """What clips were drawn: frames of each, frames a second, and how many of them were scored."""

    frames: int
    fps: float
    judged: int

    @property
    def seconds(self) -> float:
        """How long a clip is."""
        return self.frames / self.fps

    @property
    def told(self) -> str:
        """In a sentence."""
        return f"Clips of {self.frames} frames, {self.fps:g} a second; {said(self.judged, all_have=True)}."


@dataclass(frozen=True)
class Picture:
    """One prompt and seed from both sides; images are (H, W, 3) uint8, of clips some frames (f, h, w, 3); scores by reward name."""

    prompt: str
    index: int
    seed: int
    group: Group
    base: np.ndarray
    aligned: np.ndarray
    base_scores: dict[str, float]
    aligned_scores: dict[str, float]


@dataclass(frozen=True)
class Evaluation:
    """Everything the reports show.

    ``scores`` maps a reward to base and aligned scores, each (P, S); ``seeds`` is (P, S); ``seconds`` is wall time by kind of work;
    ``clips`` is None where pictures were drawn.
    """

    aligned_to: str
    prompts: list[str]
    comparisons: list[Comparison]
    control: WinRate
    diversity: Diversity | None
    shares: list[Share]
    pictures: list[Picture]
    scores: dict[str, tuple[np.ndarray, np.ndarray]]
    seeds: np.ndarray
    confidence: float = 0.95
    seconds: dict[str, float] = field(default_factory=dict)
    settings: dict[str, object] = field(default_factory=dict)
    clips: Clips | None = None

    @property
    def main(self) -> Comparison:
        """The comparison under the reward that the model was aligned to."""
        return next(row for row in self.comparisons if row.reward == self.aligned_to)

    def group(self, name: Group) -> list[Picture]:
        """The pictures of one group, in the order they are shown."""
        return [picture for picture in self.pictures if picture.group == name]
