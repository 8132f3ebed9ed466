"""A reward that runs a model: where it runs, in which numbers, and how many images at once."""

from typing import Any, Literal, get_args

import torch
from PIL import Image
from torch import Tensor, nn

from mmalign.errors import UserError
from mmalign.plugins import nearest
from mmalign.reward import Reward
from mmalign.scorers.preprocess import Preprocess

Dtype = Literal["float32", "bfloat16", "float16"]


class ModelReward(Reward):
    """Holds the device, the number format and the batch size. A subclass calls ``super().__init__`` and places its modules.

    Args:
        device: where the model runs, such as "cuda:1"; "auto" = the accelerator where there is one.
        dtype: number format of the weights; scores are float32 in any case.
        batch_size: images scored at once.

    Attributes:
        preprocess: how the model wants its pictures; a subclass sets it, or prepares them in a way of its own.
    """

    preprocess: Preprocess

    def __init__(self, device: str = "auto", dtype: Dtype = "float32", batch_size: int = 32) -> None:
        if batch_size < 1:
            raise UserError(f"batch_size is {batch_size}; give 1 or more")
        if dtype not in get_args(Dtype):
            raise UserError(f"dtype is {dtype!r}; {nearest(dtype, list(get_args(Dtype)))}")
        self.device, self.dtype, self.batch_size = find_device(device), getattr(torch, dtype), batch_size

    def prepare(self, image: Image.Image) -> Any:
        return self.preprocess(image)

    def prepare_tensor(self, images: Tensor, differentiable: bool) -> Any:
        """Without gradients a tensor scores as the file that would be saved of it."""
        return self.preprocess.tensor(images) if differentiable else self.preprocess.saved(images)

    def place(self, module: nn.Module) -> Any:
        """A module in evaluation mode, frozen, on the reward's device in its number format."""
        return module.eval().requires_grad_(False).to(self.device, self.dtype)

    def to_device(self, tensor: Tensor) -> Tensor:
        """A tensor on the reward's device, floating-point ones in its number format; a copy to CUDA does not wait."""
        dtype = self.dtype if tensor.is_floating_point() else tensor.dtype
        if self.device.type == "cuda" and tensor.device.type == "cpu" and not tensor.requires_grad:
            return tensor.pin_memory().to(self.device, dtype, non_blocking=True)
        # other copies wait: what comes from a device would be read before it has come
        return tensor.to(self.device, dtype)


def find_device(device: str) -> torch.device:
    """A device by name; "auto" is the accelerator where there is one, else the CPU.

    It has its number, as the current device, which a name without one means, is another one in another thread.

    Raises:
        UserError: there is no such device.
    """
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    try:
        return torch.empty(0, device=(accelerator or "cpu") if device == "auto" else device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"there is no device {device!r} here; use {accelerator or 'cpu'}, or auto") from error
