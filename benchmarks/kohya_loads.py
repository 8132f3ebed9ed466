"""What kohya's own networks do with the files of `mmalign export --format kohya`, for models of published size: which keys they take.

    SD_SCRIPTS=~/sd-scripts MUSUBI_TUNER=~/musubi-tuner python benchmarks/kohya_loads.py     checkouts and their requirements; no weights

The LoRAs are those of `comfyui_loads.py`. Each program builds its model without weights and a network from the file
(`create_network_from_weights`), puts it into the model and loads the numbers. A name that the network has and the file has not is missing,
the other way round it is unexpected.
"""

import importlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from safetensors.torch import load_file
from torch import nn

from mmalign.delivery.export import export

if __package__:
    from benchmarks.comfyui_loads import write_run
else:
    from comfyui_loads import write_run


def main() -> None:
    torch.set_num_threads(1)
    print("| model | program | layers | layers in the file | modules made | missing | unexpected |\n|---|---|---:|---:|---:|---:|---:|")
    for name, (program, _) in MODELS.items():
        if PROGRAMS[program] in os.environ:
            with tempfile.TemporaryDirectory() as folder:
                print(f"| {name} | {program} | {' | '.join(map(str, loaded(name, Path(folder))))} |", flush=True)


def loaded(name: str, folder: Path) -> tuple[int, int, int, int, int]:
    """Layers of the LoRA and of the file, modules of the program's network, and names that do not meet."""
    _, updates = write_run(name, folder)
    file = load_file(export(folder / "run", "kohya", dtype="float32"))
    network = MODELS[name][1](file)
    met = network.load_state_dict(file, strict=False)
    layers = {key.partition(".")[0] for key in file}
    return len(updates), len(layers), len(network.unet_loras), len(met.missing_keys), len(met.unexpected_keys)


def reach(program: str, *inside: str) -> None:
    """Lets the modules of a checkout be imported."""
    place = str(Path(os.environ[PROGRAMS[program]], *inside))
    if place not in sys.path:
        sys.path.append(place)


def sd_scripts(module: str, build: Callable[[], nn.Module]) -> Callable[[dict[str, Any]], Any]:
    """A network of sd-scripts on a model of it."""

    def made(file: dict[str, Any]) -> Any:
        reach("sd-scripts")
        with torch.device("meta"):
            model = build()
        network, _ = importlib.import_module(module).create_network_from_weights(1.0, None, None, [], model, weights_sd=file)
        network.apply_to([], model, apply_text_encoder=False, apply_unet=True)
        return network

    return made


def musubi(module: str, build: Callable[[], nn.Module]) -> Callable[[dict[str, Any]], Any]:
    """A network of musubi-tuner on a model of it."""

    def made(file: dict[str, Any]) -> Any:
        reach("musubi-tuner", "src")
        with torch.device("meta"):
            model = build()
        network = importlib.import_module(module).create_arch_network_from_weights(1.0, file, unet=model)
        network.apply_to(None, model, apply_text_encoder=False, apply_unet=True)
        return network

    return made


def stable_diffusion() -> nn.Module:
    module = importlib.import_module("library.original_unet")
    return module.UNet2DConditionModel(sample_size=64, attention_head_dim=8, cross_attention_dim=768)


def sdxl() -> nn.Module:
    return importlib.import_module("library.sdxl_original_unet").SdxlUNet2DConditionModel()


def sd3(second: int = 0) -> nn.Module:
    """``second``: blocks with a second attention, of SD3.5 Medium."""
    module = importlib.import_module("library.sd3_models")
    shape = {"patch_size": 2, "depth": 24, "num_patches": 36864, "pos_embed_max_size": 192, "adm_in_channels": 2048}
    text = {"context_embedder_in_features": 4096, "context_embedder_out_features": 1536, "model_type": "m"}
    own = {"qk_norm": "rms" if second else None, "x_block_self_attn_layers": list(range(second))}
    return module.create_sd3_mmdit(module.SD3Params(**shape, **text, **own))


def flux() -> nn.Module:
    module = importlib.import_module("library.flux_models")
    return module.Flux(module.configs["dev"].params)


def qwen_image() -> nn.Module:
    module = importlib.import_module("musubi_tuner.qwen_image.qwen_image_model")
    return module.QwenImageTransformer2DModel(attn_mode="torch")


def wan() -> nn.Module:
    with mock.patch.object(torch.cuda, "current_device", return_value=0):  # asked for by its text encoder's file, also where there is none
        module = importlib.import_module("musubi_tuner.wan.modules.model")
    shape = {"dim": 1536, "ffn_dim": 8960, "num_heads": 12, "num_layers": 30, "freq_dim": 256, "text_len": 512, "out_dim": 16}
    return module.WanModel(model_type="t2v", **shape)


PROGRAMS = {"sd-scripts": "SD_SCRIPTS", "musubi-tuner": "MUSUBI_TUNER"}
"""Where the environment says that they are."""

MODELS: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "sd15": ("sd-scripts", sd_scripts("networks.lora", stable_diffusion)),
    "sdxl": ("sd-scripts", sd_scripts("networks.lora", sdxl)),
    "sd3": ("sd-scripts", sd_scripts("networks.lora_sd3", sd3)),
    "sd35_medium": ("sd-scripts", sd_scripts("networks.lora_sd3", lambda: sd3(13))),
    "flux": ("sd-scripts", sd_scripts("networks.lora_flux", flux)),
    "qwen_image": ("musubi-tuner", musubi("musubi_tuner.networks.lora_qwen_image", qwen_image)),
    "wan": ("musubi-tuner", musubi("musubi_tuner.networks.lora_wan", wan)),
}

if __name__ == "__main__":
    main()
