"""The averaged weights of a checkpoint, as the stock libraries load them.

A run with ``train.ema_decay`` ends with its averages as the result. Its checkpoints hold the weights of the step where others look, and
the averages beside them, in the order of the trained parameters.
"""

import shutil
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from mmalign.delivery.lora import Lora, read_lora
from mmalign.delivery.peft_form import write_averages
from mmalign.delivery.result import Result, encoder_layers, outline_of
from mmalign.diffusion.aligned import LORA_FILE
from mmalign.errors import UserError
from mmalign.training import checkpoint

MAGNITUDES = ("lora_magnitude_vector", "lora_magnitude_vector.weight")
"""DoRA's, in a denoiser and in a text encoder."""


def averages(folder: Path) -> list[Tensor]:
    """The averages in a checkpoint, in the order of the trained parameters.

    Raises:
        UserError: the folder is no checkpoint, or the run kept no averages.
    """
    place = folder / checkpoint.STATE
    if not place.is_file():
        raise UserError(f"{folder} is no checkpoint; a run with train.ema_decay has its averages as its result, export that as it is")
    try:
        state = torch.load(place, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"{place} cannot be read ({error}); export from another checkpoint") from error
    if state.get("ema") is None:
        raise UserError(f"{folder} holds no averaged weights; train with --train.ema-decay 0.999 to have some")
    return state["ema"]["shadow_params"]


def save_averaged(result: Result, folder: Path) -> None:
    """Writes the averages of a checkpoint into a folder: a LoRA, or a denoiser in a subfolder of its name.

    Raises:
        UserError: as ``averages`` does, or the base that gives the order of the weights cannot be read.
    """
    shadow = averages(result.folder)
    if result.is_peft:
        write_averages(result.folder, folder, shadow, list(outline_of(result.base).layers))
    elif result.is_lora:
        _save_lora(result, shadow, folder)
    else:
        _save_denoiser(result, shadow, folder)


def _save_lora(result: Result, shadow: list[Tensor], folder: Path) -> None:
    with safe_open(result.lora, "pt") as file:
        header = file.metadata()
    lora = read_lora(result.lora)
    names = trained_order(lora, result)
    if len(names) != len(shadow):
        raise UserError(f"{result.folder} holds {len(shadow)} averages for {len(names)} tensors of a LoRA; export from another checkpoint")
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in zip(names, shadow, strict=True)}
    save_file(tensors, folder / LORA_FILE, header)


def trained_order(lora: Lora, result: Result) -> list[str]:
    """The names of a LoRA's tensors in diffusers' file, in the order in which they are trained: the denoiser's layers come first."""
    ends = ["lora_A.weight", "lora_B.weight"]
    denoiser, encoders = ([*ends, magnitude] if lora.has_magnitudes else ends for magnitude in MAGNITUDES)
    places = [f"{lora.denoiser_name}.{path}" for path in outline_of(result.base).layers if path in lora.layers]
    names = [f"{place}.{end}" for place in places for end in denoiser]
    for part, layers in lora.encoders.items():
        places = [f"{part}.{path}" for path in encoder_layers(result.base, part) if path in layers]
        names += [f"{place}.{end}" for place in places for end in encoders]
    return names


def _save_denoiser(result: Result, shadow: list[Tensor], folder: Path) -> None:
    base = outline_of(result.base)
    names = [name for name, _ in base.denoiser.named_parameters()]
    if len(names) != len(shadow):
        raise UserError(f"{result.folder} holds {len(shadow)} averages for {len(names)} weights; export from another checkpoint")
    kind, name = type(base.denoiser), base.denoiser_name
    denoiser = kind.from_pretrained(result.folder, subfolder=name, dtype=torch.float32)  # type: ignore[attr-defined]
    denoiser.load_state_dict(dict(zip(names, shadow, strict=True)), strict=False)
    denoiser.save_pretrained(folder / name, safe_serialization=True)


def newest(result: Result) -> Result:
    """The newest checkpoint of a run, or the one that a folder is."""
    if (result.folder / checkpoint.STATE).is_file():
        return result
    found = checkpoint.checkpoints(result.folder)
    if not found:
        raise UserError(f"{result.folder} has no checkpoints, where averages lie; export the result as it is")
    return Result(found[-1], result.model, result.config)


def copy_card(source: Path, folder: Path) -> None:
    """Takes the model card along, where there is one."""
    if (source / "README.md").is_file():
        shutil.copy(source / "README.md", folder / "README.md")
