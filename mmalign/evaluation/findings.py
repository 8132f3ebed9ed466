"""The statistics of an evaluation, all from the same resamples of the prompts."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict

import numpy as np

from mmalign.evaluation.diversity import compare
from mmalign.evaluation.plan import Plan
from mmalign.evaluation.result import Clips, Comparison, Diversity, Evaluation, Picture, Share
from mmalign.evaluation.sampling import seed_of
from mmalign.evaluation.side import Side
from mmalign.evaluation.statistics import WinRate, interval, win_rate
from mmalign.reward import Reward


class Findings:
    """What two sides that have drawn a plan amount to. ``scores``: reward name -> base and aligned scores, each (P, S)."""

    def __init__(self, sides: Sequence[Side], plan: Plan, rewards: Mapping[str, Reward], aligned_to: str, seed: int):
        self.sides, self.plan, self.rewards, self.aligned_to, self.seed = sides, plan, rewards, aligned_to, seed
        self.scores = {name: tuple(side.table(name, range(plan.seeds)) for side in sides) for name in rewards}
        self.bootstrap = {"seed": seed, "resamples": plan.options.resamples, "confidence": plan.options.confidence}

    def evaluation(self, labels: Collection[str], thresholds: Mapping[str, float], pictures: list[Picture], seconds: float) -> Evaluation:
        """All of it, with the pictures that were kept and the seconds that everything took."""
        sizes = {"prompts": self.plan.prompts, "seed": self.seed, "seeds_per_prompt": self.plan.seeds, **asdict(self.plan.options)}
        clips = self.clips()
        if clips is None:
            del sizes["judged_frames"], sizes["fps"]
        return Evaluation(
            aligned_to=self.aligned_to,
            prompts=list(self.sides[0].source.prompts),
            comparisons=self.comparisons(labels),
            control=self.control(),
            diversity=self.diversity(),
            shares=[self.share(name, threshold) for name, threshold in thresholds.items()],
            pictures=pictures,
            scores=self.scores,
            seeds=self.seeds(),
            confidence=self.plan.options.confidence,
            seconds=self.seconds(seconds),
            settings=sizes,
            clips=clips,
        )

    def clips(self) -> Clips | None:
        """What clips were drawn, if any."""
        frames, options = self.sides[0].frames, self.plan.options
        return None if frames is None else Clips(frames, options.fps, min(frames, options.judged_frames))

    def comparisons(self, labels: Collection[str]) -> list[Comparison]:
        """One row per reward, the one aligned to first."""
        return [self._comparison(name, name in labels) for name in sorted(self.rewards, key=lambda name: name != self.aligned_to)]

    def _comparison(self, name: str, used_for_labels: bool) -> Comparison:
        result = win_rate(*self.scores[name], **self.bootstrap)
        return Comparison(name, name, result, used_for_labels, getattr(self.rewards[name], "unit", ""))

    def control(self) -> WinRate:
        """Base against base at other seeds."""
        other = self.sides[0].table(self.aligned_to, range(self.plan.seeds, 2 * self.plan.seeds))
        return win_rate(self.scores[self.aligned_to][0], other, **self.bootstrap)

    def diversity(self) -> Diversity | None:
        """Spread of the images of one prompt on both sides, where the plan has any."""
        if not self.plan.compared:
            return None
        base, aligned = (side.thumbnails for side in self.sides)
        return compare(base, aligned, self.plan.compared, self.plan.options.diversity_draws, **self.bootstrap)

    def share(self, name: str, threshold: float) -> Share:
        """Share of images that score ``threshold`` or more under a reward."""
        base, aligned = ((scores >= threshold).mean(axis=1) for scores in self.scores[name])
        values = [interval(share, **self.bootstrap) for share in (base, aligned, aligned - base)]
        highest = getattr(self.rewards[name], "range", (None, None))[1]
        return Share(name, threshold, threshold == highest, *values, n=self.scores[name][0].size)

    def seeds(self) -> np.ndarray:
        """Noise seeds (P, S) of the comparison."""
        return np.array([seed_of(self.seed, request) for request in self.plan.main]).reshape(self.plan.prompts, self.plan.seeds)

    def seconds(self, total: float) -> dict[str, float]:
        """Wall time by kind of work."""
        sampling = {f"sampling_{side.source.name}": side.seconds["sampling"] for side in self.sides}
        return {**sampling, "scoring": sum(side.seconds["scoring"] for side in self.sides), "evaluation": total}
