r"""DSPO (Zhu et al. 2025, as in the released code for SD1.5): score matching on the winner, moved by how far the pair is from won.

The released code has another loss for SDXL, without the winner's error and with a jump at a certain distance; it is not offered.
The loser enters through the sigmoid alone, and a gradient goes through it, as in the code.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mmalign.objective import FamilyDefaults, LossOutput, Objective, Paper, Strength, saturated
from mmalign.objectives.dpo import check_pairs
from mmalign.policy import ResidualPolicy


def dspo_loss(residuals: Tensor, ref_residuals: Tensor, beta: float) -> Tensor:
    r"""The DSPO loss of pairs, per pair and unreduced.

    .. math:: \operatorname{mean} \Big[ (\epsilon_\theta - \epsilon)_w - \beta (1 - \sigma(m)) (\epsilon_\theta - \epsilon_{ref})_w \Big]^2

    with Diffusion-DPO's :math:`m = -\tfrac{\beta}{2} [(L_w - L_l) - (L^{ref}_w - L^{ref}_l)]`.

    Args:
        residuals, ref_residuals: (B, 2, ...), prediction minus target of policy and reference, preferred candidate first.
        beta: strength of the pull, and slope of the sigmoid's argument.

    Raises:
        ValueError: the shapes differ, or are not those of pairs.

    >>> ours, reference = torch.tensor([[[0.4], [0.2]]]), torch.tensor([[[0.2], [0.2]]])
    >>> dspo_loss(ours, reference, beta=0.5)
    tensor([0.1220])
    """
    if residuals.shape != ref_residuals.shape:
        raise ValueError(f"residuals have shape {tuple(residuals.shape)} but those of the reference {tuple(ref_residuals.shape)}")
    ref_residuals = ref_residuals.detach()
    unsure = torch.sigmoid(-dspo_margin(residuals, ref_residuals, beta)).view(-1, *[1] * (residuals.ndim - 2))
    moved = residuals[:, 0] - ref_residuals[:, 0]
    return (residuals[:, 0] - beta * unsure * moved).square().flatten(1).mean(1)


def dspo_margin(residuals: Tensor, ref_residuals: Tensor, beta: float) -> Tensor:
    """The argument of Diffusion-DPO's sigmoid, (B,)."""
    change = mean_squares(residuals) - mean_squares(ref_residuals)
    check_pairs(change)
    return -0.5 * beta * (change[:, 0] - change[:, 1])


def mean_squares(residuals: Tensor) -> Tensor:
    """Mean squared errors (B, K) of residuals (B, K, ...)."""
    return residuals.square().flatten(2).mean(2)


@dataclass(frozen=True)
class DSPO(Objective):
    """Fine-tuning on winners whose target moves away from the reference while a pair is not won. Needs pairs and a reference.

    Published for the noise that SD1.5 predicts; for v-prediction and flow the same formula stands on what the model predicts.

    Args:
        beta: strength of the pull; published: 1e-3, 1e-2 or 5e-2. It is not on the scale of Diffusion-DPO's.
    """

    candidates: ClassVar[range] = range(2, 3)
    compares_residuals: ClassVar[bool] = True
    paper: ClassVar[Paper] = Paper(
        "DSPO: Direct Score Preference Optimization for Diffusion Model Alignment", "ICLR 2025, openreview.net/forum?id=xyfb9HHvMe"
    )
    family_defaults: ClassVar = {
        "sd": FamilyDefaults("the released launchers/sd15.sh; its README searches 0.001, 0.01 and 0.05", {"beta": 1e-3})
    }

    beta: float = 1e-2

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise ValueError(f"beta is {self.beta}, it must be above 0")

    def strength(self) -> Strength:
        """None that compares: the sigmoid is all but constant, and beta is what it moves the target by."""
        return Strength(None, f"the winner's target moves by {self.beta / 2:g} of the way from reference to policy while a pair is even")

    def __call__(self, policy: ResidualPolicy, inputs: Any) -> LossOutput:
        with torch.no_grad(), policy.reference():
            ref_residuals = policy.residuals(inputs)
        residuals = policy.residuals(inputs)
        logps, ref_logps = -0.5 * mean_squares(residuals.detach()), -0.5 * mean_squares(ref_residuals)
        return LossOutput(
            loss=dspo_loss(residuals, ref_residuals, self.beta),
            implicit_rewards=self.beta * (logps - ref_logps),
            logps=logps,
            ref_logps=ref_logps,
            extras={"saturated": saturated(dspo_margin(residuals.detach(), ref_residuals, self.beta))},
        )


PLUGIN = DSPO
