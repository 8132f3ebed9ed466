"""The weighted sum of several rewards, in the units they come in."""

from typing import Annotated

import torch
from pydantic import BeforeValidator, Field, SerializeAsAny, field_validator
from torch import Tensor

from mmalign.config import RewardConfig
from mmalign.scorers.combine import Sum, check_direction
from mmalign.scorers.nested import checked, entry

NAME = "weighted_sum"


class WeightedReward(RewardConfig):
    """A reward and its weight."""

    weight: float = Field(1.0, description="what its score is multiplied by; negative for a reward of which less is better")

    @field_validator("weight")
    @classmethod
    def _something(cls, weight: float) -> float:
        if weight == 0:
            raise ValueError("weight is 0; leave the reward out")
        return weight

    @classmethod
    def reserved(cls) -> set[str]:
        return super().reserved() | {"weight"}


Entry = Annotated[SerializeAsAny[WeightedReward], BeforeValidator(entry(WeightedReward))]
Entries = Annotated[list[Entry], Field(min_length=1)]


class WeightedSum(Sum):
    """sum_i w_i s_i of scores as they are published: units differ, so weights carry units too.

    A reward of which less is better (``higher_is_better`` is false) must have a negative weight: nothing is turned round silently.

    Args:
        rewards: names, or {name: ..., weight: ..., its own fields}; from Python also rewards, or {"reward": a reward, "weight": ...}.

    Raises:
        UserError: an entry is wrong, or has a positive weight where less is better; the message has its path.
    """

    unit = "weighted sum of its members' units"
    source = "the configuration's weights"

    def __init__(self, rewards: Entries) -> None:
        entries = checked(NAME, "rewards", Entries, rewards)
        self.weights = [each.weight for each in entries]
        super().__init__([each.build() for each in entries])
        check_direction(NAME, self.members, "weight", self.weights)
        self.declare(unit=" + ".join(f"{weight:g} ({member.unit})" for weight, member in zip(self.weights, self.members, strict=True)))

    def terms(self, columns: Tensor) -> Tensor:
        return torch.tensor(self.weights, device=columns.device)[:, None] * columns


PLUGIN = WeightedSum
