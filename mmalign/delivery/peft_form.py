"""An adapter in peft's own format, for pipelines that read no LoRA by themselves: copied, or written with other tensors."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmalign.diffusion.adapters import PEFT_CONFIG, PEFT_WEIGHTS, PREFIX
from mmalign.errors import UserError

ENDS = ("lora_A.weight", "lora_B.weight", "lora_magnitude_vector", "lora_magnitude_vector.weight")
"""Of a layer's tensors, in the order in which they are trained."""


def copy_peft(source: Path, folder: Path, dtype: str | None) -> None:
    """The adapter in a folder written into another, in another number format where one is given."""
    tensors = load_file(source / PEFT_WEIGHTS)
    number = None if dtype is None else getattr(torch, dtype)
    write_peft(source, folder, {name: tensor if number is None else tensor.to(number) for name, tensor in tensors.items()})


def write_peft(source: Path, folder: Path, tensors: dict[str, Tensor]) -> None:
    """Tensors by the names in an adapter's file, with its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(source / PEFT_CONFIG, folder / PEFT_CONFIG)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / PEFT_WEIGHTS)


def write_averages(source: Path, folder: Path, shadow: Sequence[Tensor], layers: Sequence[str]) -> None:
    """The averages of the trained parameters in place of an adapter's tensors.

    Args:
        source: the checkpoint.
        folder: what to write.
        shadow: the averages, in the order of the trained parameters.
        layers: paths of the denoiser's layers, in its order.

    Raises:
        UserError: there are not as many averages as tensors.
    """
    with safe_open(source / PEFT_WEIGHTS, "pt") as file:
        known = set(file.keys())
    names = [name for path in layers for end in ENDS if (name := f"{PREFIX}{path}.{end}") in known]
    if len(names) != len(shadow):
        raise UserError(f"{source} holds {len(shadow)} averages for {len(names)} tensors of a LoRA; export from another checkpoint")
    write_peft(source, folder, dict(zip(names, shadow, strict=True)))
