"""A denoiser whose weights, gradients and optimizer state are split among the processes (FSDP2, torch's ``fully_shard``).

A process holds its part of everything, and the whole weights of one block at a time. Losses and gradients are those of copies kept whole
in every process. Checkpoints hold the parts as they are, and are put together for any number of processes, one among them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from mmalign.errors import UserError
from mmalign.training.sharded_reader import OwnReader
from mmalign.training.trained import parameters

SHARDS = "shards"
"""The folder in a checkpoint that holds the parts."""


STATE = "__composable_api"
HOOKS = {"_forward_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs"}
"""Where torch keeps, in a module that it splits, what it knows of that and what it does around the forward pass."""


def shard(module: nn.Module, within_node: bool = False) -> None:
    """Splits a denoiser among all processes, block by block; with one process it stays whole.

    Args:
        within_node: each machine holds all of it, split among its own processes: less is sent between machines (HSDP).

    Raises:
        UserError: machines have not as many processes each.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return
    world = dist.get_world_size()
    each = processes_of_a_machine(world) if within_node else world
    shape, names = ((world,), ("split",)) if each == world else ((world // each, each), ("copies", "split"))
    mesh = init_device_mesh(next(module.parameters()).device.type, shape, mesh_dim_names=names)
    for block in blocks(module):
        fully_shard(block, mesh=mesh)
    fully_shard(module, mesh=mesh)


def processes_of_a_machine(world: int) -> int:
    """How many of so many processes this machine has, as the launcher says. Raises UserError where it does not, or others have more."""
    each = int(os.environ.get("LOCAL_WORLD_SIZE", "0"))
    if not each:
        raise UserError(
            "speed.shard node needs to know how many processes a machine has, which LOCAL_WORLD_SIZE says; launch with torchrun"
        )
    if world % each:
        raise UserError(f"speed.shard node needs as many processes on every machine, and here are {each} of {world}; set it to true")
    return each


@contextmanager
def micro_batch(module: nn.Module, last: bool) -> Iterator[None]:
    """Around a micro-batch. Gradients are sent within machines after each one, between machines after the last one of a step alone."""
    module.set_requires_all_reduce(last)
    yield


def blocks(module: nn.Module) -> list[nn.Module]:
    """The innermost of the blocks that diffusers, and transformers in its text encoders, keep in one piece."""
    names = {name for part in module.modules() for name in getattr(part, "_no_split_modules", None) or ()}
    found = [part for part in module.modules() if type(part).__name__ in names]
    return [block for block in found if not any(type(inner).__name__ in names for inner in list(block.modules())[1:])]


def is_sharded(module: nn.Module) -> bool:
    """Whether it is split."""
    return isinstance(module, FSDPModule)


def processes_of(module: nn.Module) -> int:
    """Among how many processes it is split."""
    if not is_sharded(module):
        return 1
    held = next(parameter for parameter in module.parameters() if isinstance(parameter, DTensor))
    return held.device_mesh.size(held.device_mesh.ndim - 1)


def own(tensor: Tensor) -> Tensor:
    """This process's part of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


@contextmanager
def unsplit(module: nn.Module) -> Iterator[None]:
    """Inside it, a split model has its own class and no hooks, so that it can be copied; nothing may be computed by it."""
    before = [(part, type(part), dict(vars(part))) for part in module.modules() if is_sharded(part)]
    for part, kind, held in before:
        part.__class__ = kind.__bases__[1]
        for name, value in held.items():
            if name.startswith(STATE):
                delattr(part, name)
            elif name in HOOKS:
                setattr(part, name, type(value)())
    try:
        yield
    finally:
        for part, kind, held in before:
            part.__class__ = kind
            vars(part).update(held)


def whole(tensor: Tensor) -> Tensor:
    """A tensor put together of its parts, in every process; all must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@contextmanager
def gathered(module: nn.Module, main: bool) -> Iterator[None]:
    """Inside it, what the main process reads of a module's state is whole, on the CPU. All processes must enter it."""
    if not is_sharded(module):
        yield
        return
    kept = {}
    for name, value in module.state_dict().items():
        together = whole(value)  # by all processes, one tensor at a time
        if main:
            kept[name] = together.cpu()
        del together
    kind = type(module)
    hook = module.register_state_dict_post_hook(lambda _, state, prefix, __: state.update({prefix + name: kept[name] for name in kept}))
    module.__class__ = kind.__bases__[1]  # what diffusers writes down as the model's class
    try:
        yield
    finally:
        module.__class__ = kind
        hook.remove()


class Shards:
    """The parts of a run in a checkpoint: what is trained, its optimizer's state and its averages.

    Args:
        module: the denoiser.
        optimizer: of its trained parameters.
        averages: of these, where there are any.

    Attributes:
        optimizer_state: what was loaded of the optimizer's state, by the places of the parameters.
    """

    def __init__(self, module: nn.Module, optimizer: torch.optim.Optimizer, averages: list[Tensor]):
        self.module, self.optimizer, self.averages = module, optimizer, averages
        self.optimizer_state: dict[int, dict[str, Any]] = {}
        self._written: Path | None = None

    def write(self, folder: Path) -> None:
        """Writes the parts of all processes, each its own, into a folder that all see."""
        dcp.save(_state(self.module, self.optimizer.state_dict()["state"], self.averages), checkpoint_id=folder)
        self._written = folder

    def save_state(self, folder: Path) -> None:
        """Moves what was written into a checkpoint."""
        assert self._written is not None
        self._written.rename(folder / SHARDS)

    def load_state(self, folder: Path) -> None:
        """Puts back what another number of processes may have written. Raises UserError where it is damaged or another model's."""
        try:
            reader = OwnReader(folder / SHARDS)
            state = _state(self.module, _empty(self.module, reader.read_metadata().state_dict_metadata), self.averages)
            dcp.load(state, storage_reader=reader)
        except (Exception, CheckpointException) as error:  # torch gathers what each process met in what is no Exception
            said = f"the parts in {folder} cannot be read, or are another model's ({type(error).__name__})"
            raise UserError(f"{said}; remove this checkpoint and resume from an earlier one") from error
        self.optimizer_state = {int(place): values for place, values in state["optimizer"].items()}


def _state(module: nn.Module, optimizer: dict[int, dict[str, Any]], averages: list[Tensor]) -> dict[str, Any]:
    trained = {name: parameter.detach() for name, parameter in module.named_parameters() if parameter.requires_grad}
    kept = {str(place): average for place, average in enumerate(averages)}
    return {"trained": trained, "optimizer": {str(place): values for place, values in optimizer.items()}, "averages": kept}


def _empty(module: nn.Module, saved: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Room for an optimizer's state as it was saved: tensors of a parameter's shape are split as it is."""
    places: dict[int, dict[str, Any]] = {}
    held = parameters(module)
    for key, value in saved.items():
        kind, _, rest = key.partition(".")
        if kind == "optimizer":
            place, _, name = rest.partition(".")
            parameter = held[int(place)]
            like = torch.zeros_like(parameter, memory_format=torch.preserve_format) if value.size == parameter.shape else None
            room = torch.zeros(value.size, dtype=value.properties.dtype) if like is None else like.detach()
            places.setdefault(int(place), {})[name] = room
    return places
