"""The weighted sum of several rewards, each centered and scaled by constants that stand in the configuration."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BeforeValidator, Field, SerializeAsAny
from torch import Tensor

from mmalign.config import yaml_file
from mmalign.errors import UserError
from mmalign.reward import Images
from mmalign.rewards.weighted_sum import Entries as WeightedEntries
from mmalign.rewards.weighted_sum import WeightedReward, WeightedSum
from mmalign.scorers.combine import Sum, check_direction
from mmalign.scorers.nested import Built, checked, entry

NAME = "standardized_sum"


class StandardizedReward(WeightedReward):
    """A reward, its weight, and the constants that center and scale it."""

    mean: float = Field(description="what is taken off its score, in its own unit")
    std: float = Field(gt=0, description="what the difference is divided by, in its own unit")

    @classmethod
    def reserved(cls) -> set[str]:
        return super().reserved() | {"mean", "std"}


Entry = Annotated[SerializeAsAny[StandardizedReward], BeforeValidator(entry(StandardizedReward))]
Entries = Annotated[list[Entry], Field(min_length=1)]


class StandardizedSum(Sum):
    """sum_i w_i (s_i - mean_i) / std_i, where mean and std are constants, never those of a batch: a score is the image's alone.

    ``fit`` makes the constants, once, from a set of images. A reward of which less is better (``higher_is_better`` is false) must have a
    negative weight.

    Args:
        rewards: {name: ..., mean: ..., std: ..., weight: ..., its own fields}; from Python also {"reward": a reward, "mean": ..., ...}.

    Raises:
        UserError: an entry is wrong, or has a positive weight where less is better; the message has its path.
    """

    unit = "weighted sum of standard deviations"
    source = "the configuration's constants"

    def __init__(self, rewards: Entries) -> None:
        entries = checked(NAME, "rewards", Entries, rewards)
        self.constants = [(each.weight, each.mean, each.std) for each in entries]
        super().__init__([each.build() for each in entries])
        check_direction(NAME, self.members, "weight", [weight for weight, _, _ in self.constants])

    def terms(self, columns: Tensor) -> Tensor:
        weights, means, stds = torch.tensor(self.constants, device=columns.device).T[:, :, None]
        return weights * (columns - means) / stds


def fit(
    rewards: Sequence[Any], images: Images, prompts: str | Sequence[str] | None = None, path: str | Path | None = None
) -> dict[str, Any]:
    """A configuration of this reward whose constants are those of a set of images: ``load(**fit(...))``.

    Args:
        rewards: as ``weighted_sum`` takes them, weights included.
        images: a set that is typical of what will be scored, 100 images or more for a standard deviation good to 7 %.
        prompts: of the images.
        path: a YAML file to write it to, from where it is copied into a run's configuration.

    Raises:
        UserError: an entry is wrong, a reward gives all images the same score or some none, or the file cannot be written.
    """
    entries = checked("weighted_sum", "rewards", WeightedEntries, rewards)
    columns = WeightedSum(entries).columns(images, prompts)
    section = {"name": NAME, "rewards": [_filled(each, scores) for each, scores in zip(entries, columns, strict=True)]}
    if path is not None:
        if any(isinstance(each, Built) for each in entries):
            raise UserError(f"{path} cannot name a reward that was built before; give its name and fields, or leave path out")
        yaml_file.write(path, section)
    return section


def from_scores(scores: Tensor) -> tuple[float, float]:
    """Mean and standard deviation (n - 1 in the denominator) of one reward's scores (N,).

    Raises:
        UserError: fewer than two scores, one that is no number, or all the same.
    """
    if len(scores) < 2 or not scores.isfinite().all():
        raise UserError(
            f"{len(scores)} scores, {int(scores.isfinite().sum())} of them finite, have no standard deviation; give other images"
        )
    mean, std = scores.double().mean().item(), scores.double().std().item()
    if std <= 1e-6 * max(1.0, abs(mean)):
        raise UserError(f"all {len(scores)} scores are {mean:.6g}, so there is nothing to scale by; give images that differ")
    return mean, std


def _filled(section: WeightedReward, scores: Tensor) -> dict[str, Any]:
    mean, std = from_scores(scores)
    written = {"reward": section.build()} if isinstance(section, Built) else {}
    return {**section.model_dump(mode="json", exclude_unset=True, exclude=set(written)), **written, "mean": mean, "std": std}


PLUGIN = StandardizedSum
