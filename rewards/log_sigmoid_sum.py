"""The sum of the log-sigmoids of several rewards: each asks to be good enough, and none outweighs the rest by being very good."""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import BeforeValidator, Field, SerializeAsAny, field_validator
from torch import Tensor

from mmalign.config import RewardConfig
from mmalign.scorers.combine import Sum, check_direction
from mmalign.scorers.nested import checked, entry

NAME = "log_sigmoid_sum"


class ShiftedReward(RewardConfig):
    """A reward, and where and how fast it becomes good enough."""

    weight: float = Field(1.0, gt=0, description="what its log-sigmoid is multiplied by")
    shift: float = Field(description="the score that is good enough with probability one half, in its own unit")
    scale: float = Field(1.0, description="change of score that multiplies the odds by e, in its own unit; negative where less is better")

    @field_validator("scale")
    @classmethod
    def _something(cls, scale: float) -> float:
        if scale == 0:
            raise ValueError("scale is 0, which nothing can be divided by; give the score's usual spread")
        return scale

    @classmethod
    def reserved(cls) -> set[str]:
        return super().reserved() | {"weight", "shift", "scale"}


Entry = Annotated[SerializeAsAny[ShiftedReward], BeforeValidator(entry(ShiftedReward))]
Entries = Annotated[list[Entry], Field(min_length=1)]


class LogSigmoidSum(Sum):
    """sum_i w_i log sigmoid((s_i - shift_i) / scale_i): Wang and others, "Transforming and Combining Rewards" (2024).

    With weights and scales of 1 it is their log-sigmoid-centered transformation, summed. sigmoid is the probability that an image is good
    by one reward, and the sum is the logarithm of the probability that it is good by all of them. What is far above its shift gains
    nothing more, and a gradient goes to what is below. Theirs are rewards of the Bradley-Terry kind, whose differences are log-odds, and
    the shift is a reference value of each prompt; here it is one constant, and ``scale`` brings scores of other kinds to log-odds.

    A reward of which less is better (``higher_is_better`` is false) must have a negative scale.

    Args:
        rewards: {name: ..., shift: ..., scale: ..., weight: ..., its own fields}; from Python also {"reward": a reward, "shift": ..., ...}.

    Raises:
        UserError: an entry is wrong, or has a positive scale where less is better; the message has its path.
    """

    range = (-torch.inf, 0.0)
    unit = "log-probability of being good by every member, if each is right"
    source = "arXiv 2402.00742"

    def __init__(self, rewards: Entries) -> None:
        entries = checked(NAME, "rewards", Entries, rewards)
        self.constants = [(each.weight, each.shift, each.scale) for each in entries]
        super().__init__([each.build() for each in entries])
        check_direction(NAME, self.members, "scale", [scale for _, _, scale in self.constants])

    def terms(self, columns: Tensor) -> Tensor:
        weights, shifts, scales = torch.tensor(self.constants, device=columns.device).T[:, :, None]
        return weights * F.logsigmoid((columns - shifts) / scales)


PLUGIN = LogSigmoidSum
