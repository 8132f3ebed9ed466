"""Which way a run steps, by how its processes were launched."""

from typing import TYPE_CHECKING

import torch

from mmalign.errors import UserError
from mmalign.policy import Policy
from mmalign.training.stepping import Accelerated, Stepping
from mmalign.training.zero import asked
from mmalign.training.zero_stepping import ZeroStepping

if TYPE_CHECKING:
    from mmalign.training.loop import Run


def chosen(run: "Run", optimizer: torch.optim.Optimizer) -> Stepping:
    """By DeepSpeed where it was launched for several processes. Raises UserError where the run does not go with it."""
    zero, module = asked(), run.policy.module
    if zero is None or run.accelerator.num_processes == 1:
        return Accelerated(run.accelerator, module, optimizer, run.parameters, run.sharded)
    if run.sharded:
        raise UserError("speed.shard splits the model already, and more than DeepSpeed would; launch with torchrun, or set it to false")
    if not isinstance(run.policy, Policy) or run.objective.normalized:
        raise UserError("reward scorers are not trained with DeepSpeed, which has little to split there; launch with torchrun")
    return ZeroStepping(module, optimizer, zero, run.config, run.plan.batch_size, run.plan.accumulation)
