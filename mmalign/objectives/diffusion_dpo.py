r"""Diffusion-DPO (Wallace et al. 2023, arXiv:2311.12908, equation 14 and the released code).

With the log-likelihood of a denoising policy, minus half its mean squared error, the published
:math:`-\log\sigma(-\tfrac{\beta}{2}[(L_w - L_l) - (L^{ref}_w - L^{ref}_l)])` is plain DPO with the same beta. Errors are means over
channels, height and width, the candidates share noise and timestep, and no timestep is weighted unless ``time_weighting`` asks for it.

Strengths of other code in this one: the first script of diffusers has no half, so that its 2500 is 5000 here; the SDXL script has it.

The derivation for flow models gives each timestep the factor (1 - sigma)^2 on velocities, that of the implied noise. A constant works
better: with the factor Flow-DPO (arXiv:2501.13918, section 4.2 and table 3) found higher visual rewards but text alignment of 51.0
against 75.4. So it is off by default, for v-prediction too.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mmalign.objective import LossOutput
from mmalign.objectives.dpo import PairObjective, check_share, cross_entropy
from mmalign.policy import DenoisingPolicy


@dataclass(frozen=True)
class DenoisingPairs(PairObjective):
    """What the variants of Diffusion-DPO share.

    Args:
        time_weighting: multiply beta by what turns the errors of a timestep into errors of the noise, as derived: alpha^2 for
            v-prediction, (1 - sigma)^2 for flow matching, 1 for epsilon; false = the same beta at every timestep, as everywhere published.
    """

    # the paper's 2000 for SD1.5 and 5000 for SDXL (section 5.1); the released launchers use 5000 for both
    beta: float = 2000.0
    time_weighting: bool = False

    def slope(self, policy: DenoisingPolicy, inputs: Any) -> Tensor | float:
        """Beta, by timestep where it is weighted."""
        return self.beta * policy.noise_weights(inputs)[:, None] if self.time_weighting else self.beta

    def __call__(self, policy: DenoisingPolicy, inputs: Any) -> LossOutput:
        return super().__call__(policy, inputs)


@dataclass(frozen=True)
class DiffusionDPO(DenoisingPairs):
    """DPO for image generators: epsilon, v-prediction and flow matching alike. Needs pairs and a reference.

    Args:
        label_smoothing: share of labels taken to be wrong, in [0, 0.5): conservative DPO, whose margin has a finite optimum.
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("label_smoothing", self.label_smoothing)

    def loss(self, logits: Tensor, preferences: Tensor) -> Tensor:
        """As in ``dpo_loss``."""
        s = self.label_smoothing
        return cross_entropy(logits, preferences * (1 - s) + (1 - preferences) * s)


PLUGIN = DiffusionDPO
