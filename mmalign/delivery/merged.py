"""The base with what was trained in it: a pipeline that ``from_pretrained`` reads, without an adapter."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmalign import pipelines
from mmalign.delivery.result import Result
from mmalign.diffusion.adapters import remove_adapter
from mmalign.diffusion.aligned import ADAPTER_NAME, denoiser_from, load_adapter
from mmalign.diffusion.family import DiffusionFamily
from mmalign.training.lora import TEXT_MODEL
from mmalign.training.reference import adapted_layers


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
    for part in (family.denoiser, *family.text_encoders.values()):
        layers = adapted_layers(part, ADAPTER_NAME)
        for layer in layers:
            layer.merge(adapter_names=[ADAPTER_NAME])
        if layers:
            remove_adapter(part, ADAPTER_NAME)
    return family


def save_merged(result: Result, folder: Path, dtype: str) -> None:
    """Writes the whole pipeline in a number format. Raises UserError as ``merged`` does."""
    pipe: Any = merged(result).pipe
    if dtype != "float32":
        pipe.to(dtype=getattr(torch, dtype))
    pipe.save_pretrained(folder, safe_serialization=True)


def differences(result: Result, paths: Mapping[str, Collection[str]]) -> dict[str, dict[str, Tensor]]:
    """What the merged pipeline's weights have more than the base's, by parts of it and the paths of their layers, in float32."""
    before, after = opened(result).pipe, merged(result).pipe
    return {part: _more(getattr(before, part), getattr(after, part), inside) for part, inside in paths.items()}


def _more(before: nn.Module, after: nn.Module, paths: Collection[str]) -> dict[str, Tensor]:
    return {path: _weight(after, path) - _weight(before, path) for path in paths}


def _weight(module: nn.Module, path: str) -> Tensor:
    path = path if not path.startswith(TEXT_MODEL) or hasattr(module, "text_model") else path.removeprefix(TEXT_MODEL)
    return module.get_submodule(path).weight.detach()  # type: ignore[operator, union-attr]
