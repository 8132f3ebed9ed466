"""The training loop that all recipes share."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mmalign.shapes.recipes.muon import Muon

LOG = logging.getLogger(__name__)


@dataclass
class Fit:
    """A model after training: its averaged weights are in ``model``, and what it took is in ``record``."""

    model: nn.Module
    record: dict[str, float] = field(default_factory=dict)


def fit(
    model: nn.Module, loss: Callable[[int], Tensor], steps: int, rate: float, ema: float = 0.0, muon: bool = False, name: str = ""
) -> Fit:
    """Minimize ``loss(step)`` with AdamW: rates warm up over 2 % of the steps and fall linearly to zero.

    With ``ema`` above zero the model ends with the average of its weights under that decay; with ``muon`` the matrices and
    convolutions are trained by Muon at the same rate.
    """
    torch.set_flush_denormal(True)
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizers = _optimizers(parameters, rate, muon)
    schedules = [torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _slope(step, steps)) for optimizer in optimizers]
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(ema)) if ema else None
    start, recent = time.process_time(), math.nan
    for step in range(steps):
        value = loss(step)
        value.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
        if average is not None:
            average.update_parameters(model)
        recent = value.item() if step == 0 else 0.98 * recent + 0.02 * value.item()
        if step % 100 == 0 or step == steps - 1:
            LOG.info("%s step %d loss %.5f cpu %.0fs", name, step, recent, time.process_time() - start)
    if average is not None:
        model.load_state_dict(average.module.state_dict())
    model.eval().requires_grad_(False)
    return Fit(model, {"steps": steps, "loss": round(recent, 5), "cpu_seconds": round(time.process_time() - start, 1)})


def _optimizers(parameters: list[nn.Parameter], rate: float, muon: bool) -> list[torch.optim.Optimizer]:
    kernels = [p for p in parameters if muon and p.dim() > 1]
    others = [p for p in parameters if not (muon and p.dim() > 1)]
    made: list[torch.optim.Optimizer] = [torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.99), weight_decay=0.0)]
    return [*made, Muon(kernels, rate)] if kernels else made


def _slope(step: int, steps: int) -> float:
    warmup = max(1, steps // 50)
    return min((step + 1) / warmup, (steps - step) / max(1, steps - warmup))
