"""What of a step's memory is split among processes, and what a process holds of the others' for a while."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmalign.training.sharded import blocks

AT_ONCE = 2
"""Blocks whose weights or gradients are whole at one time: one is computed while the next one's are on their way."""


@dataclass(frozen=True)
class Split:
    """Among how many processes something is split; 1 = each has all.

    Attributes:
        weights: of the model and of a copy that is the reference, block by block.
        gradients, optimizer: of what is trained.
        room: bytes that a process takes beside.
    """

    weights: int = 1
    gradients: int = 1
    optimizer: int = 1
    room: int = 0


WHOLE = Split()


def part(size: int, processes: int) -> int:
    """A process's part of so many bytes, the largest one.

    >>> part(10, 3)
    4
    """
    return -(-size // processes)


def whole_at_once(modules: Iterable[nn.Module], split: Split) -> int:
    """Bytes of split models that are whole at one time: what belongs to no block, and the largest blocks with their gradients."""
    if split.weights == 1:
        return 0
    found, largest = 0, 0
    for module in modules:
        inner = blocks(module)
        found += bytes_of(module.parameters()) - sum(bytes_of(block.parameters()) for block in inner)
        # gradients once more while they are sent
        sizes = [bytes_of(block.parameters()) + 2 * bytes_of(p for p in block.parameters() if p.requires_grad) for block in inner]
        largest = max([largest, *sizes])
    return found + AT_ONCE * largest


@contextmanager
def gradients_in_parts(module: nn.Module, split: Split) -> Iterator[list[Tensor]]:
    """Inside it, a process keeps its part of a gradient; gives the parts. Of a split model, what belongs to no block waits for the end."""
    kept: list[Tensor] = []
    inside = {id(p) for block in blocks(module) for p in block.parameters()} if split.weights > 1 else None
    parameters = [p for p in module.parameters() if p.requires_grad and (inside is None or id(p) in inside)]

    def keep(parameter: Tensor) -> None:
        kept.append(parameter.new_empty(part(parameter.numel(), split.gradients)))
        parameter.grad = None

    hooks = [parameter.register_post_accumulate_grad_hook(keep) for parameter in parameters] if split.gradients > 1 else []
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()


def room_for(trained: list[nn.Parameter], split: Split) -> list[Tensor]:
    """What is kept of earlier micro-batches' gradients."""
    return [torch.empty(part(parameter.numel(), split.gradients), dtype=parameter.dtype) for parameter in trained]


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Bytes of all of them."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
