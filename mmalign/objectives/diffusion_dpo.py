r"""Diffusion-DPO (Wallace et al. 2023, arXiv:2311.12908, equation 14 and the released code).

With the log-likelihood of a denoising policy, minus half its mean squared error, the published
:math:`-\log\sigma(-\tfrac{\beta}{2}[(L_w - L_l) - (L^{ref}_w - L^{ref}_l)])` is plain DPO with the same beta. Errors are means over
channels, height and width, the candidates share noise and timestep, and no timestep is weighted.
"""

from dataclasses import dataclass
from typing import Any

from mmalign.objective import LossOutput
from mmalign.objectives.dpo import DPO
from mmalign.policy import DenoisingPolicy


@dataclass(frozen=True)
class DiffusionDPO(DPO):
    """DPO for image generators: epsilon, v-prediction and flow matching alike. Needs pairs and a reference."""

    # the paper's 2000 for SD1.5 and 5000 for SDXL (section 5.1); the released launchers use 5000 for both
    beta: float = 2000.0

    def __call__(self, policy: DenoisingPolicy, inputs: Any) -> LossOutput:
        return super().__call__(policy, inputs)


PLUGIN = DiffusionDPO
