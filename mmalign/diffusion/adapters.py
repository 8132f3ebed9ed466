"""Adapters of peft in a denoiser, also where diffusers' model class has no methods for them (PixArt's).

A pipeline that reads no LoRA by itself gets one in peft's own format, which ``PeftModel.from_pretrained(denoiser, folder)`` reads.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers.utils import delete_adapter_layers, recurse_remove_peft_layers, set_adapter_layers
from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

PEFT_WEIGHTS, PEFT_CONFIG = "adapter_model.safetensors", "adapter_config.json"
PREFIX = "base_model.model."
"""What ``PeftModel`` puts before the names of the model that it wraps."""


def add_adapter(module: nn.Module, config: LoraConfig, name: str) -> None:
    """Puts an adapter into a model's layers. Raises ValueError where none of them is among its targets."""
    if hasattr(module, "unload_lora"):  # the method of transformers' models leaves traces that none of theirs takes away
        module.add_adapter(config, adapter_name=name)
    else:
        inject_adapter_in_model(config, module, name)


def switch_to(module: nn.Module, names: list[str], scale: float | None = None) -> None:
    """Switches these adapters of a model on, with a scale of 1 as trained where one is given, and all others off."""
    for layer in module.modules():
        if isinstance(layer, BaseTunerLayer):
            layer.set_adapter(names)
            layer.enable_adapters(True)
            for name in names if scale is not None else ():
                layer.set_scale(name, scale)


def remove_adapter(module: nn.Module, name: str) -> None:
    """Takes an adapter out of a model; with the last one, the wrappers of its layers too."""
    if set(module.peft_config) != {name}:
        delete_adapter_layers(module, name)
        module.peft_config.pop(name, None)
    elif hasattr(module, "unload_lora"):
        module.unload_lora()
    else:
        recurse_remove_peft_layers(module)
        del module.peft_config
        if hasattr(module, "_hf_peft_config_loaded"):  # transformers would save an adapter that is gone
            module._hf_peft_config_loaded = False


def turn(pipe: Any, denoiser: str, on: bool) -> None:
    """Switches all adapters of a pipeline on or off, or those of its denoiser where it knows nothing of adapters."""
    if takes_lora(pipe):
        (pipe.enable_lora if on else pipe.disable_lora)()
    else:
        set_adapter_layers(getattr(pipe, denoiser), enabled=on)


def takes_lora(pipe: Any) -> bool:
    """Whether a pipeline reads LoRAs by itself."""
    return hasattr(pipe, "load_lora_weights")


def save_peft(folder: Path, config: LoraConfig, tensors: Mapping[str, Tensor]) -> None:
    """Writes an adapter in peft's own format, from its tensors under the model's names."""
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    save_file({PREFIX + name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, folder / PEFT_WEIGHTS)


def peft_folder(place: str | Path) -> Path:
    """Where an adapter in peft's own format lies: a folder, that of its file, or what the hub has under an id. Raises OSError."""
    path = Path(place).expanduser()
    if path.exists() or Path(place).is_absolute():
        return path.parent if path.is_file() else path
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(str(place), allow_patterns=[PEFT_WEIGHTS, PEFT_CONFIG]))


def load_peft(module: nn.Module, folder: Path, name: str) -> None:
    """Puts an adapter in peft's own format into a model. Raises RuntimeError or ValueError where it is another model's."""
    config = LoraConfig.from_pretrained(str(folder))
    config.inference_mode = True
    add_adapter(module, config, name)
    tensors = {key.removeprefix(PREFIX): value for key, value in load_file(folder / PEFT_WEIGHTS).items()}
    unknown = set_peft_model_state_dict(module, tensors, adapter_name=name).unexpected_keys
    if unknown:
        raise ValueError(f"{len(unknown)} of its tensors have no place, such as {unknown[0]}")
