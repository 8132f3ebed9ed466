"""Optimizer, learning-rate schedule and moving average."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from torch import nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from mmalign.config import TrainConfig
from mmalign.errors import UserError


@dataclass(frozen=True)
class Apart:
    """Some of the trained parameters, which have a learning rate of their own.

    Attributes:
        name: what they are, for people.
        parameters: they.
        rate: before ``scale_lr``, no unit.
    """

    name: str
    parameters: Sequence[nn.Parameter]
    rate: float

    def __str__(self) -> str:
        """What is said of it after the rate of all others."""
        return f", of the {self.name.replace('_', ' ')} {self.rate:g}"


def effective_learning_rate(config: TrainConfig, rows_per_step: int, rate: float | None = None) -> float:
    """The rate that the optimizer gets: ``scale_lr`` multiplies by the rows of a step, as the released Diffusion-DPO code does.

    Args:
        rate: in place of the configuration's.
    """
    rate = config.learning_rate if rate is None else rate
    return rate * rows_per_step if config.scale_lr else rate


def make_optimizer(parameters: Iterable[nn.Parameter], config: TrainConfig, rate: float, apart: Apart | None = None) -> Optimizer:
    """The optimizer of the configuration.

    Args:
        rate: as the optimizer gets it.
        apart: those of the parameters that have another rate, with it as the optimizer gets it.

    Raises:
        UserError: it needs a package that is not installed.
    """
    parameters = list(parameters)
    on_gpu = all(parameter.is_cuda for parameter in parameters)
    parameters = rated(parameters, config, apart) if apart is not None else parameters if config.decay_vectors else grouped(parameters)
    if config.optimizer == "adafactor":
        from transformers import Adafactor

        # the settings of Diffusion-DPO's SDXL run (released train.py)
        return Adafactor(
            parameters, lr=rate, weight_decay=config.adam_weight_decay, clip_threshold=1.0, scale_parameter=False, relative_step=False
        )
    # one kernel for all parameters, which needs no copy of them; elsewhere torch's own choice
    adam = _adamw_8bit() if config.optimizer == "adamw_8bit" else partial(torch.optim.AdamW, fused=on_gpu or None)
    betas = (config.adam_beta1, config.adam_beta2)
    return adam(parameters, lr=rate, betas=betas, weight_decay=config.adam_weight_decay, eps=config.adam_epsilon)


def rated(parameters: Sequence[nn.Parameter], config: TrainConfig, apart: Apart) -> list[dict[str, Any]]:
    """Groups of parameters: first those with the run's learning rate, last those with their own."""
    own = {id(parameter) for parameter in apart.parameters}
    parts = [[one for one in parameters if (id(one) in own) is inside] for inside in (False, True)]
    first, last = ([{"params": part}] if config.decay_vectors else grouped(part) for part in parts)
    return [*first, *({**group, "lr": apart.rate} for group in last)]


def grouped(parameters: Iterable[nn.Parameter]) -> list[dict[str, Any]]:
    """Matrices, and what has fewer than two dimensions without weight decay, as in the training of CLIP."""
    matrices, vectors = [], []
    for parameter in parameters:
        (matrices if parameter.ndim > 1 else vectors).append(parameter)
    groups = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def _adamw_8bit() -> type[Optimizer]:
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise UserError("train.optimizer is adamw_8bit, which needs bitsandbytes: pip install 'mmalign[train]'") from error
    return AdamW8bit


def make_scheduler(optimizer: Optimizer, config: TrainConfig) -> LRScheduler:
    """The learning-rate schedule, in optimizer steps; the names are diffusers'."""
    return get_scheduler(config.lr_scheduler, optimizer, num_warmup_steps=config.lr_warmup_steps, num_training_steps=config.max_train_steps)


def make_ema(parameters: list[nn.Parameter], config: TrainConfig) -> EMAModel | None:
    """The moving average of the trained weights, where one is wanted."""
    together = not any(isinstance(parameter, DTensor) for parameter in parameters)  # not all of it is there for parts
    return None if config.ema_decay is None else EMAModel(parameters, decay=config.ema_decay, foreach=together)
