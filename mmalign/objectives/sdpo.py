r"""The safeguard of Diffusion-SDPO (arXiv:2511.03317, as in the released code) around any method for pairs.

DPO often widens the margin while the winner's own error rises. Where the gradients of winner and loser point the same way at the output,
the loser's is made smaller, so that a step down the loss is to first order no step up the winner's error. The loss itself keeps its value.
"""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from pydantic import TypeAdapter
from torch import Tensor

from mmalign.config.plugin import MethodConfig, named
from mmalign.objective import Elsewhere, FamilyDefaults, LossOutput, Objective, Paper, Strength, policy_of
from mmalign.objectives._inside import Method
from mmalign.objectives.dspo import mean_squares
from mmalign.policy import ResidualPolicy


@torch.no_grad()
def loser_scales(residuals: Tensor, mu: float) -> Tensor:
    r"""How much of the loser's gradient each pair keeps, (B,), in 0 to 1.

    .. math:: \lambda = \operatorname{clip}((1 - \mu) \|r_w\|^2 / (r_w \cdot r_l), 0, 1) \text{ where } r_w \cdot r_l > 0, \text{ else } 1

    The gradients of the two mean squared errors at the output are the residuals, up to one factor. The released code has one scale for a
    whole micro-batch, from sums over its pairs; here every pair has its own, so that the batch size changes nothing.

    Args:
        residuals: (B, 2, ...), prediction minus target, preferred candidate first.
        mu: the share of the winner's own descent that is left to it, 0 to 1.

    Raises:
        ValueError: there are not two candidates.

    >>> loser_scales(torch.tensor([[[1.0, 1.0], [2.0, 2.0]], [[1.0, 1.0], [-2.0, 0.0]]]), mu=0.5)
    tensor([0.2500, 1.0000])
    """
    if residuals.ndim < 3 or residuals.shape[1] != 2:
        raise ValueError(f"the safeguard needs residuals of shape (B, 2, ...), preferred first, not {tuple(residuals.shape)}")
    winner, loser = residuals.flatten(2).unbind(1)
    along = (winner * loser).sum(1)
    bound = (1 - mu) * winner.square().sum(1) / along
    return torch.where(along > 0, bound.clamp(0, 1), 1.0)


class Safeguarded:
    """A policy with equal numbers whose loser gets less of the gradient.

    Attributes:
        scales: (B,), those of the last forward.
    """

    def __init__(self, policy: ResidualPolicy, mu: float):
        self.policy, self.mu, self.scales = policy, mu, torch.ones(0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.policy, name)

    def residuals(self, inputs: Any) -> Tensor:
        """As the policy's; what goes back through a loser is multiplied by its scale."""
        residuals = self.policy.residuals(inputs)
        self.scales = loser_scales(residuals, self.mu)
        winner, loser = residuals.unbind(1)
        scales = self.scales.view(-1, *[1] * (loser.ndim - 1))
        # equal in value to the last bit: scaling values would move the margin by more than many margins are wide
        return torch.stack([winner, _Scaled.apply(loser, scales)], dim=1)

    def errors(self, inputs: Any) -> Tensor:
        """Mean squared errors (B, 2); where nothing goes back, as under the reference, they are the policy's own."""
        if not torch.is_grad_enabled():
            return self.policy.errors(inputs)
        return mean_squares(self.residuals(inputs))

    def logps(self, inputs: Any) -> Tensor:
        """Minus half the errors."""
        return -0.5 * self.errors(inputs)


class _Scaled(torch.autograd.Function):
    """The identity, with the gradient multiplied by a constant."""

    @staticmethod
    def forward(context: Any, value: Tensor, scale: Tensor) -> Tensor:
        context.save_for_backward(scale)
        return value.view_as(value)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (scale,) = context.saved_tensors
        return gradients[0] * scale, None


@dataclass(frozen=True)
class SDPO(Objective):
    """A method for pairs with the winner kept safe from the loser. Needs what that method needs, of an image generator.

    Args:
        mu: the share of the winner's own descent that is left to it; published: 0.9 for Diffusion-DPO on SD1.5, 0.6 on SDXL, 0.2 for DSPO.
        method: the method, by name or as {name: diffusion_dpo, beta: 5000, ...}.
    """

    candidates: ClassVar[range] = range(2, 3)
    paper: ClassVar[Paper] = Paper("Diffusion-SDPO: Safeguarded Direct Preference Optimization for Diffusion Models", "arXiv:2511.03317")
    family_defaults: ClassVar = {
        "sd": FamilyDefaults("the released scripts/train/sd15_diffusion_dpo.sh; the one for DSPO has 0.2", {"mu": 0.9}),
        "sdxl": FamilyDefaults("the released scripts/train/sdxl_diffusion_dpo.sh", {"mu": 0.6}),
    }

    mu: float = 0.9
    method: Method = field(default_factory=lambda: named(MethodConfig)("diffusion_dpo"))
    inner: Objective = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.mu <= 1:
            raise ValueError(f"mu is {self.mu}, it must be in [0, 1]")
        section = TypeAdapter(Method).validate_python(self.method)
        inner = section.build()
        if inner.candidates != range(2, 3) or policy_of(type(inner)).__name__ not in READS:
            raise ValueError(f"method is {section.name}, but the safeguard is for methods that compare two pictures, like diffusion_dpo")
        object.__setattr__(self, "method", section)
        object.__setattr__(self, "inner", inner)

    @property
    def needs_reference(self) -> bool:  # type: ignore[override]
        return self.inner.needs_reference

    @property
    def compares_residuals(self) -> bool:  # type: ignore[override]
        return self.inner.compares_residuals

    @property
    def needs_online(self) -> bool:  # type: ignore[override]
        return self.inner.needs_online

    @property
    def reads(self) -> str:  # type: ignore[override]
        return self.inner.reads

    @property
    def normalized(self) -> bool:  # type: ignore[override]
        return self.inner.normalized

    @property
    def elsewhere(self) -> tuple[Elsewhere, ...]:  # type: ignore[override]
        return self.inner.elsewhere

    def strength(self) -> Strength | None:
        """That of the method inside."""
        return self.inner.strength()

    def complaint(self, scores: tuple[float, ...] | None) -> str:
        return self.inner.complaint(scores)

    def __call__(self, policy: ResidualPolicy, inputs: Any) -> LossOutput:
        safe = Safeguarded(policy, self.mu)
        output = self.inner(safe, inputs)
        return replace(output, extras=output.extras | {"safeguard/scale": safe.scales})


READS = ("Policy", "DenoisingPolicy", "ResidualPolicy")
"""The kinds of policy that a safeguarded one can stand in for."""

PLUGIN = SDPO
