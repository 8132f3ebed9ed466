"""A LoRA (or DoRA) in a denoiser, and in its text encoders where these are trained too; how it is saved, and put back."""

import warnings
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from mmalign.config import LoraAdapterConfig
from mmalign.diffusion.adapters import add_adapter, remove_adapter, save_peft, switch_to, takes_lora
from mmalign.diffusion.clip_family import ClipFamily
from mmalign.diffusion.family import DiffusionFamily
from mmalign.errors import UserError
from mmalign.training.module_state import ModuleState, enabled_adapters
from mmalign.training.prompted import PromptedDenoiser, encoders_trained
from mmalign.training.reference import AdapterOff, EarlierAdapter, NoReference, adapted_layers

ADAPTER_NAME = "mmalign"
EARLIER_NAME = "earlier"  # peft finds an adapter's tensors by its name in theirs: no part of this one may be the other
STATE_FILE = "trainable.safetensors"
TEXT_MODEL, MAGNITUDE = "text_model.", "lora_magnitude_vector"


class LoraTraining:
    """A LoRA (or DoRA) inside the denoiser, and inside the text encoders where asked for; the reference is the model with this adapter off.

    Raises:
        UserError: no layer matches the targets, DoRA is asked for on half-precision weights, or there are no text encoders to train.
    """

    def __init__(
        self,
        family: DiffusionFamily,
        config: LoraAdapterConfig,
        seed: int,
        autocast: bool = False,
        reference: bool = True,
        give_back: bool = True,
        member: bool = False,
    ):
        self.family, encoders = family, encoders_trained(family, config)
        self.parts: dict[str, nn.Module] = {family.denoiser_name: family.denoiser, **encoders}
        if config.dora and any(part.dtype != torch.float32 for part in self.parts.values()):
            raise UserError("adapter.dora in half precision does not start at the reference; set model.dtype float32, or leave dora out")
        self.before = [ModuleState(part) for part in self.parts.values()]
        self.module = PromptedDenoiser(family) if isinstance(family, ClipFamily) and encoders else family.denoiser
        self.module.requires_grad_(False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # peft draws the first weights from the global generator
            for name in self.parts:
                self._add(name, config, earlier=reference and member)
        for name, parameter in self.module.named_parameters():
            mine = f".{ADAPTER_NAME}." in name
            parameter.requires_grad_(mine)
            if mine or f".{EARLIER_NAME}." in name:
                parameter.data = parameter.data.float()  # small updates vanish in half precision
        self.reference = self._reference(member) if reference else NoReference()

    def _reference(self, member: bool) -> AdapterOff | EarlierAdapter:
        return EarlierAdapter(self.module, ADAPTER_NAME, EARLIER_NAME) if member else AdapterOff(self.module, ADAPTER_NAME)

    def _add(self, name: str, config: LoraAdapterConfig, earlier: bool) -> None:
        """Puts the adapter into a part, beside those of the user's that are on, and perhaps a second one for its earlier states."""
        part, made = self.parts[name], peft_config(self.family, config, name)
        loaded = enabled_adapters(part)
        try:
            add_adapter(part, made, ADAPTER_NAME)
        except ValueError as error:
            self.remove()
            key = "targets" if name == self.family.denoiser_name else "text_encoder_targets"
            targets = ", ".join(sorted(made.target_modules))
            raise UserError(f"adapter.{key} ({targets}) fit no layer of {type(part).__name__}: {error}") from error
        if earlier:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # peft warns that there are two adapters
                add_adapter(part, peft_config(self.family, config, name), EARLIER_NAME)
        switch_to(part, [*loaded, ADAPTER_NAME])

    def save(self, folder: Path) -> None:
        """Writes ``pytorch_lora_weights.safetensors``, which ``pipe.load_lora_weights(folder)`` reads, or what peft reads."""
        denoiser = self.family.denoiser
        if not takes_lora(self.family.pipe):
            save_peft(folder, denoiser.peft_config[ADAPTER_NAME], adapter_tensors(denoiser))
            return
        layers = {f"{name}_lora_layers": published(part, self._tensors(part)) for name, part in self.parts.items()}
        metadata = {f"{name}_lora_adapter_metadata": part.peft_config[ADAPTER_NAME].to_dict() for name, part in self.parts.items()}
        type(self.family.pipe).save_lora_weights(folder, **layers, **_jsonable(metadata))

    def _tensors(self, part: nn.Module) -> dict[str, Tensor]:
        """The adapter's in a part, out of the state of all, since that is what is whole where the model was split among processes."""
        path = next(path for path, module in self.module.named_modules() if module is part)
        prefix = f"{path}." if path else ""
        state = {name.removeprefix(prefix): tensor for name, tensor in self.module.state_dict().items() if name.startswith(prefix)}
        return get_peft_model_state_dict(part, state, ADAPTER_NAME)

    def save_state(self, folder: Path) -> None:
        """Writes the adapter for the stock libraries and, under peft's own names, for ``load_state``."""
        self.save(folder)
        for name, part in self.parts.items():
            save_adapter(part, folder, self._state_file(name))

    def load_state(self, folder: Path) -> None:
        """Puts the adapter of a checkpoint back. Raises UserError where it is damaged or of another shape."""
        for name, part in self.parts.items():
            load_adapter(part, folder, self._state_file(name))

    def _state_file(self, name: str) -> str:
        return STATE_FILE if name == self.family.denoiser_name else f"{name}.{STATE_FILE}"

    def constrain(self) -> None:
        """Nothing has a range."""

    def remove(self) -> None:
        """Takes the adapter out again: the user's pipeline is as it was."""
        for part, before in zip(self.parts.values(), self.before, strict=True):
            for name in (EARLIER_NAME, ADAPTER_NAME):
                if adapted_layers(part, name):
                    remove_adapter(part, name)
            before.restore()


def peft_config(family: DiffusionFamily, config: LoraAdapterConfig, name: str) -> LoraConfig:
    """The LoRA of a part of the pipeline. A text encoder's layers that no embedding depends on have none: they would never be moved."""
    inside = {"target_modules": list(config.targets or family.lora_targets)}
    if isinstance(family, ClipFamily) and name in family.encoders:
        read, there = family.layers_read(name), family.encoders[name].config.num_hidden_layers
        inside = {"target_modules": list(config.text_encoder_targets), "layers_to_transform": None if read == there else list(range(read))}
    return LoraConfig(
        r=config.rank,
        lora_alpha=config.rank if config.alpha is None else config.alpha,
        init_lora_weights="gaussian",
        use_rslora=config.rslora,
        use_dora=config.dora,
        **inside,
    )


def published(part: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a part's adapter under the names that loaders know.

    Transformers 5 leaves the beginning out of the names of CLIP's layers, and takes DoRA's magnitudes under their full ones alone.
    """
    if not isinstance(part, PreTrainedModel):
        return tensors
    prefix = "" if hasattr(part, "text_model") else TEXT_MODEL
    return {f"{prefix}{name}{'.weight' if name.endswith(MAGNITUDE) else ''}": tensor for name, tensor in tensors.items()}


def adapter_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The tensors of the trained adapter under peft's names."""
    return get_peft_model_state_dict(module, adapter_name=ADAPTER_NAME)


def save_adapter(module: nn.Module, folder: Path, file: str = STATE_FILE) -> None:
    """Writes the trained adapter exactly, for ``load_adapter``."""
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in adapter_tensors(module).items()}, folder / file)


def load_adapter(module: nn.Module, folder: Path, file: str = STATE_FILE) -> None:
    """Puts the adapter of a checkpoint back. Raises UserError where it is damaged or of another shape."""
    state, own = read_state(folder / file), adapter_tensors(module)
    if set(own) != set(state) or any(own[name].shape != state[name].shape for name in own):
        raise UserError(f"the LoRA in {folder} has other layers or another rank than this configuration; resume with its own")
    set_peft_model_state_dict(module, state, adapter_name=ADAPTER_NAME)


def read_state(path: Path) -> dict[str, Tensor]:
    """The trained tensors of a checkpoint. Raises UserError where they cannot be read."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read ({error}); remove this checkpoint and resume from an earlier one") from error


def _jsonable(metadata: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """peft's configuration holds sets; safetensors metadata is JSON."""
    return {
        key: {name: sorted(value) if isinstance(value, set) else value for name, value in fields.items()}
        for key, fields in metadata.items()
    }
