"""What memory a training step takes, without taking it: the step is carried out on tensors that have shapes and no content."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from mmalign.config import TrainConfig
from mmalign.diffusion.family import DiffusionFamily
from mmalign.diffusion.policy import DenoisingInputs, DiffusionPolicy
from mmalign.objective import Objective
from mmalign.training.live_bytes import LiveBytes
from mmalign.training.reference import FrozenCopy
from mmalign.training.sharded import unsplit
from mmalign.training.split_memory import WHOLE, Split, bytes_of, gradients_in_parts, part, room_for, whole_at_once

GIB = 2**30
NUMBERS = {"bf16": torch.bfloat16, "fp16": torch.float16}
IN_FLOAT32 = ("layer_norm", "group_norm", "rms_norm", "softmax", "mse_loss")
"""What CUDA's autocast computes in float32 and the CPU's does not, of what denoisers use."""

SMALLEST_8BIT, BLOCK_8BIT = 4096, 256
"""bitsandbytes keeps smaller parameters in float32, and one scale for so many numbers of the others."""
PASSING = {"adamw": 1, "adamw_8bit": 0, "adafactor": 3}
"""How many times its size a parameter takes while it is stepped, but for AdamW on a GPU, whose one kernel writes into what is there."""


@dataclass(frozen=True)
class Memory:
    """Bytes on the device during a step.

    Attributes:
        weights: of the model, the trained part among them.
        reference: of the second model, where there is one.
        gradients, optimizer, averages: of the trained part.
        others: parts of the pipeline that are there to draw pictures.
        activations: what the step takes beside these when it takes most.
        gathered: what a process holds of the others' parts, and for sending its own, where the model or its gradients are split.
    """

    weights: int
    reference: int
    gradients: int
    optimizer: int
    averages: int
    others: int
    activations: int
    gathered: int = 0

    @property
    def peak(self) -> int:
        """All of it."""
        return sum(getattr(self, name) for name in self.__dataclass_fields__)

    def __str__(self) -> str:
        parts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        said = ", ".join(f"{name} {size_of(count)}" for name, count in parts.items() if count)
        return f"{size_of(self.peak)} at its peak: {said}"


def size_of(count: int) -> str:
    """Bytes in the unit that fits.

    >>> size_of(25_000_000), size_of(13 * 2**30)
    ('23.8 MiB', '13.0 GiB')
    """
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / 2**20:.1f} MiB"


def estimate(
    family: DiffusionFamily,
    module: nn.Module,
    reference: Any,
    objective: Objective,
    inputs: DenoisingInputs,
    config: TrainConfig,
    device: str = "cuda",
    others: int = 0,
    split: Split = WHOLE,
) -> Memory:
    """Counts the bytes of one step in one process, the optimizer's among them. No weight is read, and none is copied.

    Not counted are what kernels take for themselves, what lies between tensors, and CUDA's own some hundred MiB.

    Args:
        family: of the model.
        module: the denoiser as it is trained, with its adapter; on any device, or on none.
        reference: the strategy, see ``mmalign.training.reference``.
        inputs: those of a micro-batch.
        device: "cuda" or "cpu": which rules of autocast and of the allocator hold.
        others: bytes of the pipeline's other parts that lie on the device.
        split: what of it the process shares with others.

    Raises:
        RuntimeError: the method or the model looks at numbers to decide what to do next.
    """
    hollow = FakeTensorMode(allow_non_fake_inputs=True)
    with hollow:
        denoiser, strategy, inputs = hollow_copy(family, module, reference, inputs)
    half = NUMBERS.get(config.mixed_precision)
    # what has no content is on the CPU, and so is the autocast that it obeys
    autocast = nullcontext if half is None else partial(torch.autocast, "cpu", half)
    policy = DiffusionPolicy(family, denoiser, strategy, autocast, objective.independent_noise)
    trained = [parameter for parameter in denoiser.parameters() if parameter.requires_grad]
    second = [strategy.module] if isinstance(strategy, FrozenCopy) else []
    on_gpu = device == "cuda"
    with hollow, cuda_rules() if on_gpu else nullcontext(), LiveBytes(512 if on_gpu else 1) as counted:
        states = [state for parameter in trained for state in states_of(parameter, config.optimizer)]
        held = room_for(trained, split) if config.gradient_accumulation_steps > 1 else []
        with gradients_in_parts(denoiser, split):
            output = objective(policy, inputs)
            output.loss.mean().backward()
        del output, held
        stepped(trained, config.optimizer, device)
    gradients, kept = part(bytes_of(trained), split.gradients), bytes_of(states)
    return Memory(
        weights=part(bytes_of(denoiser.state_dict(keep_vars=True).values()), split.weights),
        reference=part(sum(bytes_of(one.parameters()) for one in second), split.weights),
        gradients=gradients,
        optimizer=part(kept, split.optimizer),
        averages=0 if config.ema_decay is None else part(bytes_of(trained), split.weights),
        others=others,
        activations=max(0, counted.peak - gradients - kept),
        gathered=split.room + whole_at_once([denoiser, *second], split),
    )


def hollow_copy(family: DiffusionFamily, module: nn.Module, reference: Any, inputs: DenoisingInputs) -> Any:
    """A denoiser, a strategy and inputs without content; what is split is whole. The family stays as it is."""
    apart = unsplit(reference.module) if isinstance(reference, FrozenCopy) else nullcontext()
    with Hollow(), unsplit(module), apart:
        denoiser, strategy, inputs = copy.deepcopy((module, reference, inputs), {id(family): family})
    denoiser.__dict__.pop("forward", None)  # accelerate's wrapper calls the module that it was made for
    return denoiser, strategy, inputs


def states_of(parameter: Tensor, optimizer: str) -> list[Tensor]:
    """What an optimizer keeps of a parameter, with the shapes and formats that it has."""
    shape = parameter.shape
    if optimizer == "adafactor" and len(shape) > 1:
        return [parameter.new_empty(shape[:-1]), parameter.new_empty(shape[:-2] + shape[-1:])]
    if optimizer == "adafactor":
        return [parameter.new_empty(shape)]
    if optimizer == "adamw_8bit" and parameter.numel() >= SMALLEST_8BIT:
        scales = -(-parameter.numel() // BLOCK_8BIT)
        moments = [parameter.new_empty(shape, dtype=torch.uint8) for _ in range(2)]
        return [*moments, *(parameter.new_empty(scales, dtype=torch.float32) for _ in moments)]
    return [parameter.new_empty(shape), parameter.new_empty(shape)]


def stepped(trained: list[nn.Parameter], optimizer: str, device: str) -> None:
    """The passing memory of an optimizer's step, which takes one parameter after the other."""
    if optimizer == "adamw" and device == "cuda":
        return
    for parameter in trained:
        _ = [torch.empty_like(parameter) for _ in range(PASSING[optimizer])]


class Hollow(TorchFunctionMode):
    """Inside it, a deep copy of a tensor has its shape and no content, on the CPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch._C.TensorBase.clone:
            return self._hollow(args[0])
        if func is Tensor.__deepcopy__:
            tensor, memo = args
            if id(tensor) not in memo:
                whole = self._hollow(tensor).requires_grad_(tensor.requires_grad)
                memo[id(tensor)] = nn.Parameter(whole, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else whole
            return memo[id(tensor)]
        return func(*args, **(kwargs or {}))

    @staticmethod
    def _hollow(tensor: Tensor) -> Tensor:
        return torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")


@contextmanager
def cuda_rules() -> Iterator[None]:
    """Inside it, norms and the like are computed in float32 where autocast is on."""
    # in all of torch, since a mode would not see what checkpoints compute again
    before = {name: getattr(functional, name) for name in IN_FLOAT32}
    for name, plain in before.items():
        setattr(functional, name, partial(_in_float32, plain))
    try:
        yield
    finally:
        for name, plain in before.items():
            setattr(functional, name, plain)


def _in_float32(function: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
    if not torch.is_autocast_enabled("cpu"):
        return function(*args, **kwargs)
    with torch.autocast("cpu", enabled=False):
        return function(*map(_float32, args), **{name: _float32(value) for name, value in kwargs.items()})


def _float32(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
