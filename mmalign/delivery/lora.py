"""A LoRA as diffusers saves it, layer by layer, with the scale that each one has."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from mmalign.diffusion.adapters import PEFT_CONFIG, PEFT_WEIGHTS, PREFIX
from mmalign.errors import UserError
from mmalign.training.lora import TEXT_MODEL

METADATA_KEY = "lora_adapter_metadata"
"""Under this name diffusers keeps peft's configuration, as JSON, in a file's header."""

ENCODER = "text_encoder"

PARTS = {"lora_A.weight": "down", "lora_B.weight": "up", "lora_magnitude_vector": "magnitude", "lora_magnitude_vector.weight": "magnitude"}


@dataclass(frozen=True)
class Layer:
    """The update of one layer: ``up @ down * alpha / rank``, and DoRA's magnitudes.

    Attributes:
        down: (rank, in, ...).
        up: (out, rank, ...).
        alpha: the number that the update is multiplied by and divided by the rank, with peft's own scale already in it.
        magnitude: DoRA's, as peft holds it: (out,), or (1, out, 1, 1) of a convolution; None = plain LoRA.
    """

    down: Tensor
    up: Tensor
    alpha: float
    magnitude: Tensor | None = None

    @property
    def rank(self) -> int:
        return self.down.shape[0]


@dataclass(frozen=True)
class Lora:
    """A LoRA of a denoiser, and perhaps of its text encoders.

    Attributes:
        layers: of the denoiser, by their path in it.
        encoders: of each text encoder by its name, in the pipeline's order, by their path in it, which begins with ``text_model.``.
    """

    denoiser_name: str
    layers: Mapping[str, Layer]
    encoders: Mapping[str, Mapping[str, Layer]] = field(default_factory=dict)

    @property
    def has_magnitudes(self) -> bool:
        """Whether it is a DoRA."""
        return any(layer.magnitude is not None for part in (self.layers, *self.encoders.values()) for layer in part.values())

    @property
    def rank(self) -> int:
        """The largest of the layers' ranks."""
        return max(layer.rank for layer in self.layers.values())

    @property
    def alpha(self) -> float:
        """The alpha of a layer of the largest rank."""
        return next(layer.alpha for layer in self.layers.values() if layer.rank == self.rank)


def read_lora(path: Path) -> Lora:
    """Reads a file that diffusers' ``save_lora_weights`` wrote.

    Raises:
        UserError: it cannot be read, or holds something else than a LoRA of one denoiser and perhaps of its text encoders.
    """
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
            said = json.loads((file.metadata() or {}).get(METADATA_KEY, "{}"))
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read ({error}); give a folder with a LoRA that diffusers saved") from error
    parts: dict[str, dict[str, dict[str, Tensor]]] = {}
    for name, tensor in tensors.items():
        whose, _, inside = name.partition(".")
        layer, part = _split(inside, path)
        parts.setdefault(whose, {}).setdefault(layer, {})[part] = tensor
    encoders = {name: _layers(name, parts[name], said) for name in sorted(parts) if name.startswith(ENCODER)}
    denoisers = [name for name in sorted(parts) if name not in encoders]
    if len(denoisers) != 1:
        raise UserError(f"{path} holds LoRAs of {', '.join(sorted(parts)) or 'nothing'}; only one of a single denoiser can be written anew")
    (prefix,) = denoisers
    clips = {name: {in_clip(layer): one for layer, one in layers.items()} for name, layers in encoders.items()}
    return Lora(prefix, _layers(prefix, parts[prefix], said), clips)


def _layers(whose: str, found: Mapping[str, dict[str, Tensor]], said: Mapping[str, Any]) -> dict[str, Layer]:
    """The layers of a part of the pipeline, from their tensors and the file's header."""
    peft = {key.removeprefix(f"{whose}."): value for key, value in said.items() if key.startswith(f"{whose}.")}
    return {name: Layer(**parts, alpha=_alpha(name, parts["down"].shape[0], peft)) for name, parts in sorted(found.items())}


def in_clip(path: str) -> str:
    """A layer's path in a CLIP text encoder as all loaders have it; transformers 5 leaves the beginning out of some."""
    return path if path.startswith(TEXT_MODEL) else f"{TEXT_MODEL}{path}"


def read_peft(folder: Path, denoiser_name: str) -> Lora:
    """Reads an adapter in peft's own format, which holds nothing but the denoiser's layers.

    Raises:
        UserError: it cannot be read.
    """
    try:
        tensors, said = load_file(folder / PEFT_WEIGHTS), json.loads((folder / PEFT_CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"the adapter in {folder} cannot be read ({error}); give a folder that peft saved") from error
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        layer, part = _split(name.removeprefix(PREFIX), folder / PEFT_WEIGHTS)
        found.setdefault(layer, {})[part] = tensor
    return Lora(denoiser_name, _layers(denoiser_name, found, {f"{denoiser_name}.{key}": value for key, value in said.items()}))


def _split(name: str, path: Path) -> tuple[str, str]:
    for ending, part in PARTS.items():
        if name.endswith(f".{ending}"):
            return name.removesuffix(f".{ending}"), part
    raise UserError(f"{path} holds {name}, which is no tensor of a LoRA in diffusers' format; give a file that save_lora_weights wrote")


def _alpha(name: str, rank: int, peft: Mapping[str, Any]) -> float:
    """A layer's alpha in the scale alpha / rank: without a configuration it is the rank, as diffusers takes it."""
    own = peft.get("alpha_pattern", {}).get(name, peft.get("lora_alpha", rank))
    return own * rank**0.5 if peft.get("use_rslora") else float(own)
