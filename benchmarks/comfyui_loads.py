"""What ComfyUI's own loader does with the files of `mmalign export`, for models of published size: which keys it takes, and what it adds.

    COMFYUI=~/ComfyUI python benchmarks/comfyui_loads.py        a checkout of ComfyUI with its requirements; no weights, no GPU

For each family a LoRA of rank 2 with random numbers in the layers that mmalign trains is exported for a base of which there are shapes
alone, then one of the CLIP text encoders too. ComfyUI builds its model of these shapes without weights (that of diffusers' tensors where it
has a converter), and `comfy.sd.load_lora_for_models` loads the file; every warning of it is counted. What the loader then adds to the
weights of some layers (`comfy.lora.calculate_weight` on zeros) is compared with ``alpha / rank * up @ down`` of the LoRA, layer by layer
through ComfyUI's map of diffusers' names; where it has none (Wan) through diffusers' converter of the published checkpoint.
"""

import json
import logging
import os
import random
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import torch
import yaml
from accelerate import init_empty_weights
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mmalign import pipelines
from mmalign.delivery import kohya
from mmalign.delivery.export import export
from mmalign.delivery.places import place_of
from mmalign.diffusion.adapters import save_peft
from mmalign.diffusion.aligned import LORA_FILE
from mmalign.errors import UserError

if __package__:
    from benchmarks.memory import SDXL_SHAPE
else:
    from memory import SDXL_SHAPE

RANK, ALPHA = 2, 3.0
LAYERS = 12  # whose numbers are compared
UNET = {"sample_size": 64, "layers_per_block": 2, "block_out_channels": (320, 640, 1280, 1280)}
SD3 = {
    "num_layers": 24,
    "num_attention_heads": 24,
    "caption_projection_dim": 1536,
    "pos_embed_max_size": 192,
    "pooled_projection_dim": 2048,
}
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "sd15": ("StableDiffusionPipeline", "UNet2DConditionModel", UNET | {"cross_attention_dim": 768}),
    "sd2": (
        "StableDiffusionPipeline",
        "UNet2DConditionModel",
        UNET | {"cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True},
    ),
    "sdxl": ("StableDiffusionXLPipeline", "UNet2DConditionModel", SDXL_SHAPE),
    "sd3": ("StableDiffusion3Pipeline", "SD3Transformer2DModel", SD3),
    "sd35_medium": (
        "StableDiffusion3Pipeline",
        "SD3Transformer2DModel",
        SD3 | {"pos_embed_max_size": 384, "qk_norm": "rms_norm", "dual_attention_layers": tuple(range(13))},
    ),
    "flux": ("FluxPipeline", "FluxTransformer2DModel", {"guidance_embeds": True}),
    "pixart": (
        "PixArtSigmaPipeline",
        "PixArtTransformer2DModel",
        {"sample_size": 128, "cross_attention_dim": 1152, "caption_channels": 4096, "norm_type": "ada_norm_single", "norm_eps": 1e-6},
    ),
    "qwen_image": ("QwenImagePipeline", "QwenImageTransformer2DModel", {}),
    "wan": (
        "WanPipeline",
        "WanTransformer3DModel",
        {"num_attention_heads": 12, "num_layers": 30, "ffn_dim": 8960, "text_dim": 4096, "freq_dim": 256},
    ),
    "sana": ("SanaPipeline", "SanaTransformer2DModel", {}),
}
"""Pipeline, class of the denoiser, and its shape where it is not the class's default: those of the published models."""
ENCODERS = {"sd15": ("l",), "sdxl": ("l", "g"), "sd3": ("l", "g"), "flux": ("l",)}
"""The CLIP text encoders of a model, in the pipeline's order, by ComfyUI's names."""
CLIPS = {"l": (12, 768), "g": (32, 1280)}
"""Layers and width."""
WAN = {"image_model": "wan2.1", "model_type": "t2v", "dim": 1536, "num_heads": 12, "num_layers": 30, "ffn_dim": 8960, "out_dim": 16}


@dataclass(frozen=True)
class Loaded:
    """What ComfyUI made of a file.

    Attributes:
        layers: of the LoRA.
        keys: tensors in the file.
        patched: weights of ComfyUI's model that it changes.
        warnings: what the loader said, such as "lora key not loaded: ...".
        unknown: layers whose name under `..diff`, as a DoRA would have it, is not in ComfyUI's map.
        apart: largest difference between what it adds and the LoRA's own update, over the largest entry of that.
    """

    layers: int
    keys: int
    patched: int
    warnings: tuple[str, ...]
    unknown: int
    apart: float


def main() -> None:
    torch.set_num_threads(1)
    print("| model | form | layers | tensors | weights changed | warnings | unknown | apart |\n|---|---|---:|---:|---:|---:|---:|---:|")
    for name, encoders in [*((name, False) for name in MODELS), *((name, True) for name in ENCODERS)]:
        for form in ("kohya", "comfyui"):
            with tempfile.TemporaryDirectory() as folder:
                try:
                    found = loaded(name, form, Path(folder), encoders)
                except UserError as error:
                    print(f"| {name} | {form} | refused: {error} |")
                    continue
            name = f"{name}, its text encoders too" if encoders else name
            said = f"{len(found.warnings)} ({found.warnings[0]})" if found.warnings else "0"
            print(
                f"| {name} | {form} | {found.layers} | {found.keys} | {found.patched} | {said} | {found.unknown} | {found.apart:.1e} |",
                flush=True,
            )


def loaded(name: str, form: str, folder: Path, encoders: bool = False) -> Loaded:
    """Exports a LoRA of a model, and of its text encoders where asked, and has ComfyUI load it. Raises UserError where mmalign refuses."""
    denoiser, updates = write_run(name, folder, encoders)
    file = load_file(export(folder / "run", form, dtype="float32"))
    comfy = comfyui()
    model, clip = theirs(name, denoiser), texts(name) if encoders else None
    with warned() as said:
        both = comfy.sd.load_lora_for_models(patcher(model), clip, file, 1.0, 1.0)
    patched = both[0].patches | (both[1].patcher.patches if encoders else {})
    names = {kohya.named(place_of(path, MODELS[name][0], denoiser.config).name) for path in updates if not path.startswith("text_encoder")}
    unknown = len(names - comfy.lora.model_lora_keys_unet(model, {}).keys())
    shapes = {
        key: tensor.shape
        for part in (model, clip.cond_stage_model if encoders else None)
        if part
        for key, tensor in part.state_dict().items()
    }
    chosen = sample(places_of(name, model) | places_of_texts(name, updates), updates)
    apart = max(apart_of(place, updates[path], patched, shapes) for path, place in chosen)
    return Loaded(len(updates), len(file), len(patched), tuple(said), unknown, apart)


def patcher(model: nn.Module) -> Any:
    """What ComfyUI keeps patches of a model in."""
    return comfyui().model_patcher.ModelPatcher(model, load_device=torch.device("cpu"), offload_device=torch.device("cpu"))


def texts(name: str) -> Any:
    """ComfyUI's text encoders of a model, without weights and without T5."""
    comfy, clip = comfyui(), comfyui().sd.CLIP(no_init=True)
    given = {"device": torch.device("meta"), "dtype": torch.float32}
    kind = {"sdxl": comfy.sdxl_clip.SDXLClipModel, "sd3": partial(comfy.text_encoders.sd3_clip.SD3ClipModel, t5=False)}
    clip.cond_stage_model = kind.get(name, comfy.sd1_clip.SD1ClipModel)(**given)
    clip.patcher = patcher(clip.cond_stage_model)
    clip.tokenizer = clip.layer_idx = clip.apply_hooks_to_conds = clip.use_clip_schedule = None
    clip.tokenizer_options = {}
    return clip


def places_of_texts(name: str, updates: Mapping[str, Any]) -> dict[str, str]:
    """Where ComfyUI has the weights of CLIP's layers."""
    own = {"text_encoder" if place == 0 else f"text_encoder_{place + 1}": clip for place, clip in enumerate(ENCODERS.get(name, ()))}
    paths = [path.partition(".") for path in updates if path.startswith("text_encoder")]
    return {f"{whose}.{path}.weight": f"clip_{own[whose]}.transformer.{path}.weight" for whose, _, path in paths}


def write_run(name: str, folder: Path, encoders: bool = False) -> tuple[nn.Module, dict[str, tuple[Tensor, Tensor]]]:
    """A base without weights and the folder of a run on it; gives the denoiser, and down and up of each layer.

    ``encoders``: the projections of the CLIP text encoders have a LoRA too.
    """
    pipeline, kind, shape = MODELS[name]
    with init_empty_weights():
        denoiser = getattr(diffusers, kind)(**shape)
    family = next(family for family in pipelines.families(pipelines.DiffusionFamily).values() if pipeline in family.pipeline_classes)
    part = family.denoiser_name
    (folder / "base" / part).mkdir(parents=True)
    (folder / "base" / "model_index.json").write_text(json.dumps({"_class_name": pipeline, part: ["diffusers", kind]}))
    denoiser.save_config(folder / "base" / part)
    targets = family(SimpleNamespace(**{part: denoiser}, config={})).lora_targets
    random_of = torch.Generator().manual_seed(0)
    updates = {
        path: (torch.randn(RANK, layer.in_features, generator=random_of), torch.randn(layer.out_features, RANK, generator=random_of))
        for path, layer in denoiser.named_modules()
        if isinstance(layer, nn.Linear) and any(path == target or path.endswith(f".{target}") for target in targets)
    }
    for place, (layers, width) in enumerate(CLIPS[clip] for clip in ENCODERS[name]) if encoders else ():
        whose = "text_encoder" if place == 0 else f"text_encoder_{place + 1}"
        for path in (
            f"{whose}.text_model.encoder.layers.{i}.self_attn.{end}_proj" for i in range(layers) for end in ("q", "k", "v", "out")
        ):
            updates[path] = torch.randn(RANK, width, generator=random_of), torch.randn(width, RANK, generator=random_of)
    save(folder / "run", part, updates, peft=name == "pixart")
    config = {"model": {"pretrained": str(folder / "base")}, "data": {"source": "pairs"}, "method": {"name": "diffusion_dpo"}}
    (folder / "run" / "config.yaml").write_text(yaml.safe_dump(config | {"output_dir": str(folder / "run")}))
    return denoiser, updates


def save(folder: Path, part: str, updates: Mapping[str, tuple[Tensor, Tensor]], peft: bool) -> None:
    """A LoRA as runs leave it: diffusers' file with peft's numbers in its header, or peft's own."""
    folder.mkdir()
    named = {
        f"{path}.{end}": tensor
        for path, both in updates.items()
        for end, tensor in zip(("lora_A.weight", "lora_B.weight"), both, strict=True)
    }
    if peft:
        save_peft(folder, LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=["to_q"]), named)  # type: ignore[arg-type]
        return
    whose = {path.partition(".")[0] if path.startswith("text_encoder") else part for path in updates}
    header = json.dumps({f"{one}.{key}": value for one in whose for key, value in (("r", RANK), ("lora_alpha", ALPHA))})
    tensors = {name if name.startswith("text_encoder") else f"{part}.{name}": tensor for name, tensor in named.items()}
    save_file(tensors, folder / LORA_FILE, {"lora_adapter_metadata": header})


def comfyui() -> Any:
    """ComfyUI's modules, from the checkout that the environment names, told that there is no GPU."""
    place = os.environ["COMFYUI"]
    if place not in sys.path:
        sys.path.append(place)
    import comfy.cli_args  # type: ignore[import-not-found]

    comfy.cli_args.args.cpu = True
    import comfy.lora
    import comfy.model_patcher
    import comfy.sd

    return comfy


def theirs(name: str, denoiser: nn.Module) -> nn.Module:
    """ComfyUI's model of these shapes, without weights."""
    comfy = comfyui()
    detection = comfy.model_detection if hasattr(comfy, "model_detection") else comfy.sd.model_detection
    if name == "wan":
        config, given = comfy.supported_models.WAN21_T2V(dict(WAN)), {}
    else:
        given = dict(denoiser.state_dict())
        config = detection.model_config_from_unet(given, "")
        if config is None and (converted := detection.convert_diffusers_mmdit(given, "")) is not None:
            config = detection.model_config_from_unet(given := converted, "")
        if config is None:
            config = detection.model_config_from_diffusers_unet(given)
    config.set_inference_dtype(torch.float32, None)
    return config.get_model(given, "", device=torch.device("meta"))


def places_of(name: str, model: Any) -> dict[str, Any]:
    """Where ComfyUI has diffusers' weights, as (weight, (dimension, start, length) or None)."""
    utils, config = comfyui().utils, model.model_config.unet_config
    if name == "wan":
        from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers

        own = [key.removeprefix("diffusion_model.") for key in model.state_dict() if key.startswith("diffusion_model.")]
        numbered = convert_wan_transformer_to_diffusers({key: place for place, key in enumerate(own)})
        return {key: f"diffusion_model.{own[place]}" for key, place in numbered.items()}
    if name == "qwen_image":
        return {key.removeprefix("diffusion_model."): key for key in model.state_dict()}
    if name.startswith("sd") and not name.startswith("sd3"):
        return {key: f"diffusion_model.{place}" for key, place in utils.unet_to_diffusers(config).items()}
    convert = {"sd3": utils.mmdit_to_diffusers, "sd35_medium": utils.mmdit_to_diffusers, "flux": utils.flux_to_diffusers}
    return convert.get(name, utils.pixart_to_diffusers)(config, output_prefix="diffusion_model.")


def sample(places: Mapping[str, Any], updates: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Some of the LoRA's layers with their places, half of them of the text encoders where there are any."""
    texts = [path for path in sorted(updates) if path.startswith("text_encoder")]
    parts = [[path for path in sorted(updates) if path not in set(texts)], *([texts] if texts else [])]
    chosen = [path for part in parts for path in random.Random(0).sample(part, min(LAYERS // len(parts), len(part)))]
    return [(path, places[f"{path}.weight"]) for path in chosen]


def apart_of(place: Any, update: tuple[Tensor, Tensor], patches: Mapping[str, Any], shapes: Mapping[str, torch.Size]) -> float:
    """How far what ComfyUI adds to a weight is from the LoRA's update, over the largest entry of that."""
    name, part = (place, None) if isinstance(place, str) else place[:2]
    added = comfyui().lora.calculate_weight(patches[name], torch.zeros(shapes[name]), name)
    added = added if part is None else added.narrow(*part)
    wanted = ALPHA / RANK * update[1] @ update[0]
    return ((added.view_as(wanted) - wanted).abs().max() / wanted.abs().max()).item()


@contextmanager
def warned() -> Iterator[list[str]]:
    """The warnings of the root logger, which is the one that ComfyUI speaks through."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        yield said
    finally:
        logging.getLogger().removeHandler(handler)


if __name__ == "__main__":
    main()
