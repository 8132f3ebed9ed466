"""How the gradients of all processes come together and move the weights."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from mmalign.errors import UserError
from mmalign.training.sharded import is_sharded, micro_batch, processes_of, whole
from mmalign.training.split_memory import Split


class Stepping(Protocol):
    """One optimizer step: backward passes of its micro-batches, then the step.

    Attributes:
        module: what answers a forward pass.
        optimizer: has ``param_groups`` and the state of this process; ``state_dict`` gives that of all, which must ask for it together.
        split: what of the memory is shared among the processes.
    """

    module: nn.Module
    optimizer: Any
    split: Split

    def part(self, last: bool) -> AbstractContextManager[Any]:
        """Around forward and backward of a micro-batch. After the last one of a step the gradient is the mean over all processes."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Adds the gradient of a loss."""
        ...

    def step(self, longest: float | None) -> Tensor:
        """Clips the gradient to an L2 norm (None = not at all), steps, and drops it; gives the norm that it had."""
        ...

    def close(self) -> None:
        """Leaves the module as it was found."""
        ...


class Accelerated:
    """Torch's own ways: one process, copies in all processes (DDP), or a model that is split already (FSDP2).

    Args:
        parameters: those that are trained.
        split: the module is split already.
    """

    def __init__(
        self, accelerator: Accelerator, module: nn.Module, optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter], split: bool
    ):
        self.accelerator, self.parameters = accelerator, parameters
        self._seen = split or accelerator.num_processes == 1
        self.split = Split(*[processes_of(module)] * 3)
        self.optimizer = accelerator.prepare(optimizer)
        self.module = module if split else accelerator.prepare(module)

    def part(self, last: bool) -> AbstractContextManager[Any]:
        """Gradients are sent after the last micro-batch of a step only, as far as they fit into a process."""
        if is_sharded(self.module):
            return micro_batch(self.module, last)
        return nullcontext() if last else self.accelerator.no_sync(self.module)

    def backward(self, loss: Tensor) -> None:
        """Adds the gradient of a loss, times the loss scale of fp16."""
        self.accelerator.backward(loss)

    def step(self, longest: float | None) -> Tensor:
        """Steps; ``optimizer.step_was_skipped`` says afterwards whether fp16's loss scale overflowed.

        Raises:
            UserError: at the first step of several processes, where one has no gradient of something: torch would have the others wait.
        """
        if not self._seen:
            check_reached(self.module)
            self._seen = True
        norm = whole(self.accelerator.clip_grad_norm_(self.parameters, longest or float("inf"))).detach()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def close(self) -> None:
        """What accelerate wrapped is unwrapped with the rest of the run."""


def check_reached(module: nn.Module) -> None:
    """Raises UserError where a parameter has no gradient after a backward pass."""
    missed = [
        name.removeprefix("module.") for name, parameter in module.named_parameters() if parameter.requires_grad and parameter.grad is None
    ]
    if missed:
        raise UserError(
            f"nothing that the model says depends on {missed[0]} ({len(missed)} such in all), for whose gradients several processes would "
            "wait; leave its layer out of adapter.targets, name it in the family's `unread`, or train in one process"
        )
