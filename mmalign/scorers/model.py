"""A reward that runs a model: where it runs, in which numbers, and how many images at once."""

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from mmalign.errors import UserError
from mmalign.plugins import nearest
from mmalign.reward import Reward

Dtype = Literal["float32", "bfloat16", "float16"]


class ModelReward(Reward):
    """Holds the device, the number format and the batch size. A subclass calls ``super().__init__`` and places its modules.

    Args:
        device: where the model runs, such as "cuda:1"; "auto" = the accelerator where there is one.
        dtype: number format of the weights; scores are float32 in any case.
        batch_size: images scored at once.
    """

    def __init__(self, device: str = "auto", dtype: Dtype = "float32", batch_size: int = 32) -> None:
        if batch_size < 1:
            raise UserError(f"batch_size is {batch_size}; give 1 or more")
        if dtype not in get_args(Dtype):
            raise UserError(f"dtype is {dtype!r}; {nearest(dtype, list(get_args(Dtype)))}")
        self.device, self.dtype, self.batch_size = find_device(device), getattr(torch, dtype), batch_size

    def place(self, module: nn.Module) -> Any:
        """A module in evaluation mode, frozen, on the reward's device in its number format."""
        return module.eval().requires_grad_(False).to(self.device, self.dtype)

    def to_device(self, tensor: Tensor) -> Tensor:
        """A tensor on the reward's device, copied without waiting; floating-point ones in its number format."""
        if self.device.type == "cuda" and tensor.device.type == "cpu" and not tensor.requires_grad:
            tensor = tensor.pin_memory()
        return tensor.to(self.device, self.dtype if tensor.is_floating_point() else tensor.dtype, non_blocking=True)


def find_device(device: str) -> torch.device:
    """A device by name; "auto" is the accelerator where there is one, else the CPU.

    Raises:
        UserError: there is no such device.
    """
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if device == "auto":
        return accelerator or torch.device("cpu")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"there is no device {device!r} here; use {accelerator or 'cpu'}, or auto") from error
    return found
