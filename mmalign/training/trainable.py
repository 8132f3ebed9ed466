"""What is trained: a LoRA inside the denoiser, or all of its weights; and how the result is saved for the stock libraries."""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor, nn

from mmalign.config import AdapterConfig, FullConfig, LoraAdapterConfig
from mmalign.diffusion.family import DiffusionFamily
from mmalign.errors import UserError
from mmalign.training.reference import AdapterOff, FrozenCopy, copy_of

ADAPTER_NAME = "mmalign"


class LoraTraining:
    """A LoRA (or DoRA) inside the denoiser; the reference is the denoiser with this adapter off.

    Raises:
        UserError: no layer of the denoiser matches the targets.
    """

    def __init__(self, family: DiffusionFamily, config: LoraAdapterConfig, seed: int):
        self.family, self.module = family, family.denoiser
        self.module.requires_grad_(False)
        loaded = list(self.module.active_adapters()) if getattr(self.module, "_hf_peft_config_loaded", False) else []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # peft draws the first weights from the global generator
            self._add(self._peft_config(config))
        self.module.set_adapter([*loaded, ADAPTER_NAME])
        for name, parameter in self.module.named_parameters():
            mine = f".{ADAPTER_NAME}" in name
            parameter.requires_grad_(mine)
            if mine:
                parameter.data = parameter.data.float()  # small updates vanish in half precision
        self.reference = AdapterOff(self.module, ADAPTER_NAME)

    def _peft_config(self, config: LoraAdapterConfig) -> LoraConfig:
        return LoraConfig(
            r=config.rank,
            lora_alpha=config.rank if config.alpha is None else config.alpha,
            target_modules=list(config.targets or self.family.lora_targets),
            init_lora_weights="gaussian",
            use_rslora=config.rslora,
            use_dora=config.dora,
        )

    def _add(self, peft_config: LoraConfig) -> None:
        try:
            self.module.add_adapter(peft_config, adapter_name=ADAPTER_NAME)
        except ValueError as error:
            targets = ", ".join(sorted(peft_config.target_modules))
            raise UserError(f"adapter.targets ({targets}) fit no layer of {type(self.module).__name__}: {error}") from error

    def state(self) -> dict[str, Tensor]:
        """The trained tensors by name."""
        return get_peft_model_state_dict(self.module, adapter_name=ADAPTER_NAME)

    def load(self, state: dict[str, Tensor]) -> None:
        """Puts saved tensors back. Raises UserError where they fit another rank, target list or model."""
        own = self.state()
        if set(own) != set(state) or any(own[name].shape != state[name].shape for name in own):
            raise UserError("the checkpoint's LoRA has other layers or another rank than this configuration; resume with its own")
        set_peft_model_state_dict(self.module, state, adapter_name=ADAPTER_NAME)

    def save(self, folder: Path) -> None:
        """Writes ``pytorch_lora_weights.safetensors``, which ``pipe.load_lora_weights(folder)`` reads."""
        layers = {f"{self.family.denoiser_name}_lora_layers": self.state()}
        metadata = {f"{self.family.denoiser_name}_lora_adapter_metadata": self.module.peft_config[ADAPTER_NAME].to_dict()}
        type(self.family.pipe).save_lora_weights(folder, **layers, **_jsonable(metadata))

    def remove(self) -> None:
        """Takes the adapter out again: the user's pipeline is as it was."""
        self.module.delete_adapters(ADAPTER_NAME)


class FullTraining:
    """All weights of the denoiser; the reference is a frozen copy."""

    def __init__(self, family: DiffusionFamily, config: FullConfig, seed: int):
        self.family, self.module = family, family.denoiser
        self.reference = FrozenCopy(copy_of(self.module))
        # half-precision master weights lose small updates
        self.module.to(torch.float32).requires_grad_(True)

    def state(self) -> dict[str, Tensor]:
        """The trained tensors by name."""
        return self.module.state_dict()

    def load(self, state: dict[str, Tensor]) -> None:
        """Puts saved tensors back. Raises UserError where they belong to another model."""
        try:
            self.module.load_state_dict(state)
        except RuntimeError as error:
            raise UserError(f"the checkpoint belongs to another model: {str(error).splitlines()[0]}") from error

    def save(self, folder: Path) -> None:
        """Writes the denoiser as diffusers does, into a subfolder of its name."""
        self.module.save_pretrained(folder / self.family.denoiser_name, safe_serialization=True)

    def remove(self) -> None:
        """Puts the weights from before training back into the user's pipeline."""
        self.module.load_state_dict(self.reference.module.state_dict())
        self.module.to(self.reference.module.dtype)


Trainable = LoraTraining | FullTraining


def trainable(family: DiffusionFamily, config: AdapterConfig, seed: int) -> Trainable:
    """Makes the denoiser trainable as the configuration says."""
    kind = FullTraining if config.name == "full" else LoraTraining
    made = kind(family, config, seed)
    made.module.eval()  # dropout would make policy and reference differ at equal weights
    return made


def parameters(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that are trained."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def _jsonable(metadata: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """peft's configuration holds sets; safetensors metadata is JSON."""
    return {
        key: {name: sorted(value) if isinstance(value, set) else value for name, value in fields.items()}
        for key, fields in metadata.items()
    }
