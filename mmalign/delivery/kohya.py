"""A LoRA under kohya's names, which sd-scripts, ComfyUI, the web UIs and diffusers read."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmalign import __version__
from mmalign.delivery.fused import fused
from mmalign.delivery.lora import Layer, Lora
from mmalign.delivery.places import place_of
from mmalign.delivery.readers import readers_of
from mmalign.delivery.result import Base, Result
from mmalign.errors import UserError

PREFIX = "lora_unet_"
"""Of the denoiser's tensors, also where it is a transformer."""

VERSIONS = {"StableDiffusionXLPipeline": "sdxl_base_v1-0", "FluxPipeline": "flux1"}
STABILITY = "https://github.com/Stability-AI/generative-models"
ARCHITECTURES = {
    "StableDiffusionXLPipeline": ("stable-diffusion-xl-v1-base", STABILITY),
    "StableDiffusion3Pipeline": ("stable-diffusion-3", STABILITY),
    "FluxPipeline": ("flux-1", "https://github.com/black-forest-labs/flux"),
    "QwenImagePipeline": ("Qwen-Image", "https://github.com/QwenLM/Qwen-Image"),
    "WanPipeline": ("wan2.1", "https://github.com/Wan-Video/Wan2.1"),
    "PixArtSigmaPipeline": ("pixart-sigma", "https://github.com/PixArt-alpha/PixArt-sigma"),
}
"""Names and code by which the keys of Stability's model specification tell models apart, as sd-scripts and musubi-tuner write them."""
MODULES = {
    "StableDiffusion3Pipeline": "networks.lora_sd3",
    "FluxPipeline": "networks.lora_flux",
    "QwenImagePipeline": "networks.lora_qwen_image",
    "WanPipeline": "networks.lora_wan",
}
SD2_WIDTH = 1024  # of the text embeddings that the UNet takes


def named(place: str, prefix: str = PREFIX) -> str:
    """A layer's name in a file.

    >>> named("input_blocks.4.1.proj_in")
    'lora_unet_input_blocks_4_1_proj_in'
    """
    return prefix + place.replace(".", "_")


def encoder_prefix(name: str, pipeline: str) -> str:
    """What stands before the names of a text encoder's layers: a number where the model is one of those that may have several.

    >>> encoder_prefix("text_encoder", "FluxPipeline"), encoder_prefix("text_encoder", "StableDiffusionPipeline")
    ('lora_te1_', 'lora_te_')
    """
    number = name.removeprefix("text_encoder").removeprefix("_") or ("" if pipeline == "StableDiffusionPipeline" else "1")
    return f"lora_te{number}_"


def tensors(lora: Lora, base: Base) -> dict[str, Tensor]:
    """The tensors of a file: ``lora_down``, ``lora_up`` and ``alpha`` of each layer.

    A DoRA is refused: under these names (``dora_scale``) diffusers 0.42 leaves its magnitudes out with a warning, and the others norm by
    columns, or by rows without the update, where peft norms by rows with it. None of them would draw what was trained.

    Raises:
        UserError: it is a DoRA, no program of kohya's has such a model, a layer has no equal in the published layout, or one there holds
            several that differ.
    """
    readers_of("kohya", base.pipeline)
    if lora.has_magnitudes:
        raise UserError("kohya's names hold no DoRA that any loader reads as it was trained; export comfyui, which is exact, or merged")
    modules, made = base.layers, {}
    for path, layer in lora.layers.items():
        place = place_of(path, base.pipeline, base.denoiser.config)
        if (name := named(place.name)) not in made:
            made[name] = layer if len(place.parts) == 1 else fused(place.name, place.parts, lora.layers, modules)
    for encoder, layers in lora.encoders.items():
        made |= {named(path, encoder_prefix(encoder, base.pipeline)): layer for path, layer in layers.items()}
    return {f"{name}.{part}": tensor for name, layer in made.items() for part, tensor in _parts(layer).items()}


def _parts(layer: Layer) -> dict[str, Tensor]:
    """What a layer is in a file, by the ends of the names."""
    return {"lora_down.weight": layer.down, "lora_up.weight": layer.up, "alpha": torch.tensor(layer.alpha, dtype=torch.float32)}


def metadata(lora: Lora, base: Base, result: Result) -> dict[str, str]:
    """What the header says: the keys that sd-scripts and the user interfaces show and sort by."""
    config, known = base.denoiser.config, result.config
    architecture, code = ARCHITECTURES.get(base.pipeline) or (_stable_diffusion(config)[1], STABILITY)
    said: dict[str, Any] = {
        "ss_network_module": MODULES.get(base.pipeline, "networks.lora"),
        "ss_network_dim": lora.rank,
        "ss_network_alpha": f"{lora.alpha:g}",
        "ss_output_name": result.folder.resolve().name,
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{architecture}/lora",
        "modelspec.implementation": code,
        "modelspec.title": result.folder.resolve().name,
        "mmalign_version": __version__,
    }
    version = VERSIONS.get(base.pipeline) or (_stable_diffusion(config)[0] if base.pipeline == "StableDiffusionPipeline" else None)
    said |= {} if version is None else {"ss_base_model_version": version, "ss_v2": str(version == "sd_v2")}
    if result.model is not None:
        said["ss_sd_model_name"] = result.model.pretrained
    if known is not None:
        said |= {
            "ss_learning_rate": f"{known.train.learning_rate:g}",
            "ss_max_train_steps": known.train.max_train_steps,
            "ss_seed": known.seed,
            "ss_training_comment": f"{known.method.name} by mmalign",
        }
    if known is not None and lora.encoders:
        own = getattr(known.adapter, "text_encoder_lr", None)
        said["ss_text_encoder_lr"] = f"{known.train.learning_rate if own is None else own:g}"
    return {key: str(value) for key, value in said.items()}


def _stable_diffusion(config: Mapping[str, Any]) -> tuple[str, str]:
    """Version and architecture of Stable Diffusion 1 or 2, which differ in the width of the text embeddings."""
    second = config.get("cross_attention_dim") == SD2_WIDTH
    return ("sd_v2", "stable-diffusion-v2-512") if second else ("sd_v1", "stable-diffusion-v1")
