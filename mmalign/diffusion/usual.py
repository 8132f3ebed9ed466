"""How a pipeline draws where nobody says how: the steps and the guidance that its call has as defaults, or that few steps ask for."""

import inspect
from collections.abc import Sequence
from typing import Any

from torch import nn

NAMES = ("num_inference_steps", "guidance_scale")
OF_FEW_STEPS = ("LCMScheduler", "TCDScheduler")
"""Schedulers that only models distilled for few steps are drawn with."""

FEW = 4
"""Steps of such a model: the default of Latent Consistency Models (arXiv:2310.04378) and of TCD (arXiv:2402.19159) in diffusers' guides."""


def defaults_of(kind: type) -> dict[str, Any]:
    """Those of a pipeline's call; one that it leaves to itself is left out."""
    known = inspect.signature(kind.__call__).parameters
    return {name: default for name in NAMES if name in known and isinstance(default := known[name].default, int | float)}


def usual_of(pipe: Any, denoiser: nn.Module, timesteps: Sequence[int] | None = None) -> dict[str, Any]:
    """``num_inference_steps`` and ``guidance_scale`` of a pipeline, those of the two that its call has.

    Args:
        pipe: the pipeline.
        denoiser: whose configuration says whether guidance is an input of it, which a model of few steps keeps.
        timesteps: the only ones that the denoiser was distilled for; None = it was not, as far as is known.
    """
    usual = defaults_of(type(pipe))
    if timesteps is None and type(pipe.scheduler).__name__ not in OF_FEW_STEPS:
        return usual
    guided = getattr(denoiser.config, "time_cond_proj_dim", None) is not None
    return usual | {"num_inference_steps": FEW if timesteps is None else len(timesteps)} | ({} if guided else {"guidance_scale": 0.0})
