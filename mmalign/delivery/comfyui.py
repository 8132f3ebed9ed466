"""A LoRA for ComfyUI under names of its key map (``comfy/lora.py``), those that diffusers reads too where it can; a DoRA as differences.

kohya's names are those where diffusers has a converter. SD3 has none, PixArt no loader: diffusers' own names, which the map knows. Wan's
converter of kohya's names wants a LoRA in every layer of a block, that of the published names does not. Outside kohya's names no alpha is
read by both, so that the scale is in the weights.

A DoRA ComfyUI computes otherwise than it was trained (see ``kohya.tensors``); a whole difference of weights means the same in all versions,
and in the web UIs.
"""

import torch
from torch import Tensor

from mmalign.delivery import kohya
from mmalign.delivery.lora import Layer, Lora
from mmalign.delivery.merged import differences
from mmalign.delivery.places import place_of
from mmalign.delivery.readers import readers_of
from mmalign.delivery.result import Base, Result

DIFFUSERS_NAMES = ("StableDiffusion3Pipeline", "PixArtSigmaPipeline")
PUBLISHED_NAMES = ("WanPipeline",)


def tensors(lora: Lora, base: Base, result: Result) -> dict[str, Tensor]:
    """The tensors of a file. A DoRA needs the base's weights, and becomes as large as the layers that it changes.

    Raises:
        UserError: ComfyUI has no such model, a layer has no equal in the published layout, or the base of a DoRA cannot be loaded.
    """
    readers_of("comfyui", base.pipeline)
    if lora.has_magnitudes:
        return whole(lora, base, result)
    return scaled(lora, base) if base.pipeline in DIFFUSERS_NAMES + PUBLISHED_NAMES else kohya.tensors(lora, base)


def scaled(lora: Lora, base: Base) -> dict[str, Tensor]:
    """``lora_A`` and ``lora_B`` of each layer, with the scale in the latter."""
    named: dict[str, Layer] = {}
    for path, layer in lora.layers.items():
        place = place_of(path, base.pipeline, base.denoiser.config)  # refuses what ComfyUI would leave out
        named[f"diffusion_model.{place.name}" if base.pipeline in PUBLISHED_NAMES else f"{lora.denoiser_name}.{path}"] = layer
    for encoder, layers in lora.encoders.items():
        named |= {f"{encoder}.{path}": layer for path, layer in layers.items()}
    made = {}
    for name, layer in named.items():
        made[f"{name}.lora_A.weight"] = layer.down
        made[f"{name}.lora_B.weight"] = layer.up * (layer.alpha / layer.rank)
    return made


def whole(lora: Lora, base: Base, result: Result) -> dict[str, Tensor]:
    """``diff`` of each layer: what it has more than the base's. Parts of a layer that were not trained differ by nothing."""
    more, modules = differences(result, {lora.denoiser_name: lora.layers, **lora.encoders}), base.layers
    made, changed = {}, more.pop(lora.denoiser_name)
    for path in lora.layers:
        place = place_of(path, base.pipeline, base.denoiser.config)
        parts = [changed[part] if part in changed else torch.zeros(modules[part].weight.shape) for part in place.parts]
        made[f"{kohya.named(place.name)}.diff"] = torch.cat(parts)
    for name, layers in more.items():
        prefix = kohya.encoder_prefix(name, base.pipeline)
        made |= {f"{kohya.named(path, prefix)}.diff": difference for path, difference in layers.items()}
    return made
