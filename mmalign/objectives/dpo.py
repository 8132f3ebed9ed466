"""Direct Preference Optimization (Rafailov et al. 2023, arXiv:2305.18290, equation 7) on the log-likelihoods of any policy."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from mmalign.objective import LossOutput, Objective, reference_logps
from mmalign.policy import Policy


def dpo_loss(margin: Tensor, ref_margin: Tensor, beta: float, label_smoothing: float = 0.0) -> Tensor:
    r"""The DPO loss of pairs, per pair and unreduced.

    .. math:: -(1 - s) \log\sigma(\beta (m - m_{ref})) - s \log\sigma(-\beta (m - m_{ref}))

    Args:
        margin: (B,), log-likelihood of the chosen minus the rejected candidate under the policy.
        ref_margin: (B,), the same under the reference.
        beta: inverse temperature; larger keeps the policy closer to the reference.
        label_smoothing: the share s in [0, 0.5) of labels taken to be wrong (conservative DPO, Mitchell 2023).

    Raises:
        ValueError: the margins differ in shape.

    >>> import torch
    >>> dpo_loss(torch.tensor([0.3]), torch.tensor([0.1]), beta=10.0)
    tensor([0.1269])
    """
    if margin.shape != ref_margin.shape:
        raise ValueError(f"margin has shape {tuple(margin.shape)} but ref_margin {tuple(ref_margin.shape)}")
    logits = beta * (margin - ref_margin)
    loss = -(1 - label_smoothing) * F.logsigmoid(logits)
    # without smoothing the second term is left out: at an extreme margin it would be 0 times infinity
    return loss - label_smoothing * F.logsigmoid(-logits) if label_smoothing else loss


def check_pairs(logps: Tensor) -> None:
    """Raises ValueError unless the candidate axis holds pairs."""
    if logps.ndim != 2 or logps.shape[1] != 2:
        raise ValueError(f"a pair objective needs log-likelihoods of shape (B, 2), preferred first, not {tuple(logps.shape)}")


@dataclass(frozen=True)
class DPO(Objective):
    """DPO on pairs: raise the chosen candidate's likelihood over the rejected one's, measured against the reference."""

    candidates: ClassVar[range] = range(2, 3)

    beta: float = 0.1
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise ValueError(f"beta is {self.beta}, it must be above 0")
        if not 0 <= self.label_smoothing < 0.5:
            raise ValueError(f"label_smoothing is {self.label_smoothing}, it must be in [0, 0.5)")

    def __call__(self, policy: Policy, inputs: Any) -> LossOutput:
        ref_logps = reference_logps(policy, inputs)
        logps = policy.logps(inputs)
        check_pairs(logps)
        margin, ref_margin = logps[:, 0] - logps[:, 1], ref_logps[:, 0] - ref_logps[:, 1]
        logits = self.beta * (margin - ref_margin).detach()
        return LossOutput(
            loss=dpo_loss(margin, ref_margin, self.beta, self.label_smoothing),
            implicit_rewards=self.beta * (logps - ref_logps).detach(),
            extras={
                "logps/chosen": logps[:, 0].detach(),
                "logps/rejected": logps[:, 1].detach(),
                # beyond 4 the gradient is under 2 % of its scale: the pair is learned, or lost
                "saturated": (logits.abs() > 4).float(),
            },
        )


PLUGIN = DPO
