r"""Diffusion-KTO (Li et al. 2024, arXiv:2404.04465, as in the released code): likes and dislikes of single pictures, not pairs.

The released beta of 1000 is on errors without Diffusion-DPO's half; with it, as here, the same strength is 2000. There is no logarithm
around the sigmoid. The code draws 80 % likes; here the data decide, and ``liked_weight`` and ``disliked_weight`` can balance them.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mmalign.objective import Elsewhere, FamilyDefaults, LossOutput, Objective, Paper, Strength, Takes, reference_logps, saturated
from mmalign.objectives._processes import mean_of_all
from mmalign.policy import Policy


def diffusion_kto_loss(ratios: Tensor, liked: Tensor, baseline: Tensor, beta: float) -> Tensor:
    r"""The loss of single candidates, per candidate and unreduced.

    .. math:: 1 - \sigma(\pm \beta (r - z)), \quad + \text{ for liked},\ - \text{ for disliked}

    Args:
        ratios: (B,), log-likelihood under the policy minus that under the reference; half the fall of the mean squared error.
        liked: (B,), bool.
        baseline: a number z that the ratios are compared with; no gradient goes into it.
        beta: slope of the sigmoid's argument.

    Raises:
        ValueError: the shapes differ.

    >>> diffusion_kto_loss(torch.tensor([0.2, 0.2]), torch.tensor([True, False]), torch.tensor(0.1), beta=10.0)
    tensor([0.2689, 0.7311])
    """
    if ratios.shape != liked.shape:
        raise ValueError(f"ratios have shape {tuple(ratios.shape)} but liked {tuple(liked.shape)}")
    distance = beta * (ratios - baseline.detach())
    return torch.sigmoid(torch.where(liked, -distance, distance))


def kl_baseline(ratios: Tensor) -> Tensor:
    """An estimate of the distance between policy and reference: the mean of all ratios of a micro-batch over all processes, 0 at least.

    Args:
        ratios: (B,), equally many on each process.
    """
    return mean_of_all(ratios).clamp_min(0)


@dataclass(frozen=True)
class DiffusionKTO(Objective):
    """Raises liked pictures above the average of the batch and lowers disliked ones. Needs labels 1 and 0, or pairs, and a reference.

    Pairs are taken apart: the preferred picture is liked, the other disliked, each with noise and timestep of its own. The baseline is
    the mean of the micro-batch over all processes, so that ``train_batch_size`` is part of the method: with one row in all a rising
    picture is its own baseline.

    Args:
        beta: slope on half the mean squared error; the released 1000 is on the whole.
        liked_weight: weight of liked pictures.
        disliked_weight: weight of disliked pictures.
    """

    candidates: ClassVar[range] = range(1, 2)
    takes: ClassVar[Takes] = "singles"
    paper: ClassVar[Paper] = Paper("Aligning Diffusion Models by Optimizing Human Utility", "arXiv:2404.04465")
    family_defaults: ClassVar = {"sd": FamilyDefaults("1000 without the half, the default of the released code", {"beta": 2000.0})}
    elsewhere: ClassVar = (Elsewhere("Diffusion-KTO's code", 0.5),)

    beta: float = 2000.0
    liked_weight: float = 1.0
    disliked_weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("beta", "liked_weight", "disliked_weight"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, it must be above 0")

    def complaint(self, scores: tuple[float, ...] | None) -> str:
        if scores is None or scores[0] not in (0, 1):
            return "it has no label that DiffusionKTO reads; give single pictures the score 1 (liked) or 0 (disliked), or give pairs"
        return ""

    def strength(self) -> Strength:
        """Its beta."""
        return Strength(self.beta, "of one picture against the mean of its batch")

    def __call__(self, policy: Policy, inputs: Any) -> LossOutput:
        ref_logps = reference_logps(policy, inputs)
        logps = policy.logps(inputs)
        ratios = (logps - ref_logps)[:, 0]
        liked = policy.labels(inputs).scores[:, 0] > 0.5
        baseline = kl_baseline(ratios)
        weights = torch.where(liked, self.liked_weight, self.disliked_weight)
        distance = (ratios.detach() - baseline) * self.beta
        signed = torch.where(liked, distance, -distance)
        return LossOutput(
            loss=weights * diffusion_kto_loss(ratios, liked, baseline, self.beta),
            implicit_rewards=self.beta * ratios.detach()[:, None],
            logps=logps.detach(),
            ref_logps=ref_logps,
            preferred=liked,
            extras={
                "rewards/margins": signed,
                "rewards/accuracies": (signed > 0).float(),
                "kl": baseline.expand_as(ratios),
                "liked": liked.float(),
                "saturated": saturated(signed),
            },
        )


PLUGIN = DiffusionKTO
