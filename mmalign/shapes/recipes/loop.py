"""The training loop that all recipes share."""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


@dataclass
class Fit:
    """A model after training: its averaged weights are in ``model``, and what it took is in ``record``."""

    model: nn.Module
    record: dict[str, float] = field(default_factory=dict)


def fit(
    model: nn.Module, loss: Callable[[int], Tensor], steps: int, rate: float, ema: float = 0.0, decay: float = 0.0, name: str = ""
) -> Fit:
    """Minimize ``loss(step)`` with AdamW: rates warm up over 2 % of the steps and fall linearly to zero.

    With ``ema`` above zero the model ends with the average of its weights under that decay.
    """
    torch.set_flush_denormal(True)
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.99), weight_decay=decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _slope(step, steps))
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(ema)) if ema else None
    start, recent = time.process_time(), math.nan
    for step in range(steps):
        value = loss(step)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if average is not None:
            average.update_parameters(model)
        recent = value.item() if step == 0 else 0.98 * recent + 0.02 * value.item()
        if step % 100 == 0 or step == steps - 1:
            print(f"{name} step {step} loss {recent:.5f} cpu {time.process_time() - start:.0f}s", file=sys.stderr, flush=True)
    if average is not None:
        model.load_state_dict(average.module.state_dict())
    model.eval().requires_grad_(False)
    return Fit(model, {"steps": steps, "loss": round(recent, 5), "cpu_seconds": round(time.process_time() - start, 1)})






def _slope(step: int, steps: int) -> float:
    warmup = max(1, steps // 50)
    return min((step + 1) / warmup, (steps - step) / max(1, steps - warmup))
