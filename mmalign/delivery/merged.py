"""The base with what was trained in it: a pipeline that ``from_pretrained`` reads, without an adapter."""

from pathlib import Path
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from mmalign import pipelines
from mmalign.delivery.result import Result
from mmalign.diffusion.adapters import remove_adapter
from mmalign.diffusion.aligned import ADAPTER_NAME, denoiser_from, load_adapter
from mmalign.diffusion.family import DiffusionFamily


def opened(result: Result) -> DiffusionFamily:
    """The base in float32, so that nothing is rounded before the sum is made. Raises UserError where there is none."""
    return pipelines.configured(result.base.model_copy(update={"dtype": "float32", "quantization": None}))


def merged(result: Result) -> DiffusionFamily:
    """The base with the LoRA added to its weights, or with the trained denoiser in place of its own.

    Raises:
        UserError: the base cannot be loaded, or the result belongs to another one.
    """
    family = opened(result)
    pipe, name = family.pipe, family.denoiser_name
    if not result.is_lora:
        setattr(pipe, name, denoiser_from(result.folder, name, family.denoiser))
        return family
    load_adapter(pipe, name, result.folder)
    for layer in family.denoiser.modules():
        if isinstance(layer, BaseTunerLayer):
            layer.merge(adapter_names=[ADAPTER_NAME])
    remove_adapter(family.denoiser, ADAPTER_NAME)
    return family


def save_merged(result: Result, folder: Path, dtype: str) -> None:
    """Writes the whole pipeline in a number format. Raises UserError as ``merged`` does."""
    pipe: Any = merged(result).pipe
    if dtype != "float32":
        pipe.to(dtype=getattr(torch, dtype))
    pipe.save_pretrained(folder, safe_serialization=True)


def differences(result: Result, paths: list[str]) -> dict[str, Tensor]:
    """What the merged denoiser's weights have more than the base's, by the layers' paths, in float32."""
    before = _weights(opened(result).denoiser, paths)
    after = _weights(merged(result).denoiser, paths)
    return {path: after[path] - before[path] for path in paths}


def _weights(denoiser: nn.Module, paths: list[str]) -> dict[str, Tensor]:
    return {path: denoiser.get_submodule(path).weight.detach() for path in paths}  # type: ignore[misc]
