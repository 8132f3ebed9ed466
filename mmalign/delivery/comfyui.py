"""A LoRA for ComfyUI: kohya's names, and a DoRA as whole differences of weights.

ComfyUI's key map (``comfy/lora.py``) knows kohya's names of every family here. A DoRA it computes otherwise than it was trained (see
``kohya.tensors``); a whole difference of weights means the same in all versions, and in the web UIs.
"""

import torch
from torch import Tensor

from mmalign.delivery import kohya
from mmalign.delivery.lora import Lora
from mmalign.delivery.merged import differences
from mmalign.delivery.places import place_of
from mmalign.delivery.result import Base, Result


def tensors(lora: Lora, base: Base, result: Result) -> dict[str, Tensor]:
    """The tensors of a file. A DoRA needs the base's weights, and becomes as large as the layers that it changes.

    Raises:
        UserError: a layer has no equal in the published layout, or the base of a DoRA cannot be loaded.
    """
    return whole(lora, base, result) if lora.has_magnitudes else kohya.tensors(lora, base)


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
