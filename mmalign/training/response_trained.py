"""What is trained of a vision-language model: a LoRA inside its language model, or all of that; saved as PEFT and transformers read it."""

from pathlib import Path

import torch
from peft import LoraConfig
from safetensors.torch import save_file
from torch import nn

from mmalign.config import AdapterConfig, FullConfig, LoraAdapterConfig
from mmalign.errors import UserError
from mmalign.training.lora import ADAPTER_NAME, STATE_FILE, adapter_tensors, load_adapter, read_state, save_adapter
from mmalign.training.module_state import ModuleState, enabled_adapters
from mmalign.training.reference import AdapterOff, FrozenCopy, NoReference, copy_of
from mmalign.vlm.family import VlmFamily
from mmalign.vlm.token_logps import PackedModel


class VlmLora:
    """A LoRA (or DoRA) in the layers of the language model; the reference is the model with this adapter off.

    Raises:
        UserError: no layer matches the targets.
    """

    def __init__(self, family: VlmFamily, config: LoraAdapterConfig, seed: int, reference: bool = True):
        self.family, self.model, self.module = family, family.model, PackedModel(family.model)
        self.before = ModuleState(self.model)
        self.model.requires_grad_(False)
        loaded = enabled_adapters(self.model)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # peft draws the first weights from the global generator
            self._add(config)
        self.model.set_adapter([*loaded, ADAPTER_NAME])
        for name, parameter in self.model.named_parameters():
            mine = f".{ADAPTER_NAME}." in name
            parameter.requires_grad_(mine)
            if mine:
                parameter.data = parameter.data.float()  # small updates vanish in half precision
        self.reference = AdapterOff(self.model, ADAPTER_NAME) if reference else NoReference()

    def _add(self, config: LoraAdapterConfig) -> None:
        targets = self.family.lora_layers(config.targets)
        if not targets:
            self.before.restore()
            told = ", ".join(config.targets or self.family.lora_targets)
            raise UserError(f"adapter.targets ({told}) fit no layer in the language model of {type(self.model).__name__}; name its layers")
        made = LoraConfig(
            r=config.rank,
            lora_alpha=config.rank if config.alpha is None else config.alpha,
            target_modules=targets,
            use_rslora=config.rslora,
            use_dora=config.dora,
        )
        self.model.add_adapter(made, adapter_name=ADAPTER_NAME)

    def save(self, folder: Path) -> None:
        """Writes ``adapter_model.safetensors`` and ``adapter_config.json``, which PEFT and transformers read."""
        tensors = {f"base_model.model.{name}": tensor.detach().cpu().contiguous() for name, tensor in adapter_tensors(self.model).items()}
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        config = self.model.peft_config[ADAPTER_NAME]
        config.inference_mode = True
        config.save_pretrained(folder)
        config.inference_mode = False

    def save_state(self, folder: Path) -> None:
        """Writes the adapter for the stock libraries and, under peft's own names, for ``load_state``."""
        self.save(folder)
        save_adapter(self.model, folder)

    def load_state(self, folder: Path) -> None:
        """Puts the adapter of a checkpoint back. Raises UserError where it is damaged or of another shape."""
        load_adapter(self.model, folder)

    def constrain(self) -> None:
        """Nothing has a range."""

    def remove(self) -> None:
        """Takes the adapter out again."""
        self.model.delete_adapter(ADAPTER_NAME)
        self.before.restore()


class VlmFull:
    """All weights of the language model; the reference is a frozen copy of the whole model, where one is needed."""

    def __init__(self, family: VlmFamily, config: FullConfig, seed: int, reference: bool = True):
        self.family, self.model, self.module = family, family.model, PackedModel(family.model)
        self.before = ModuleState(self.model)
        self.reference = FrozenCopy(copy_of(self.model)) if reference else NoReference()
        self.model.requires_grad_(False)
        # half-precision master weights lose small updates
        for module in (family.decoder, self.model.get_output_embeddings()):
            module.to(torch.float32).requires_grad_(True)

    def save(self, folder: Path) -> None:
        """Writes the model and its processor as transformers does."""
        self.model.save_pretrained(folder)
        self.family.processor.save_pretrained(folder)

    def save_state(self, folder: Path) -> None:
        """Writes the trained tensors."""
        trained = {name: p.detach().cpu().contiguous() for name, p in self.model.named_parameters() if p.requires_grad}
        save_file(trained, folder / STATE_FILE)

    @torch.no_grad()
    def load_state(self, folder: Path) -> None:
        """Puts them back. Raises UserError where they are damaged, or another model's."""
        state = read_state(folder / STATE_FILE)
        own = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        if own.keys() != state.keys() or any(own[name].shape != state[name].shape for name in own):
            raise UserError(f"the checkpoint {folder} is another model's; resume with its own")
        for name, parameter in own.items():
            parameter.copy_(state[name])

    def constrain(self) -> None:
        """Nothing has a range."""

    def remove(self) -> None:
        """Leaves the trained weights in place, frozen as they were before."""
        self.before.restore()


def vlm_trainable(family: VlmFamily, config: AdapterConfig, seed: int, *, reference: bool = True) -> VlmLora | VlmFull:
    """Makes a vision-language model trainable as the configuration says, without dropout.

    Args:
        seed: of the adapter's first weights.
        reference: whether the method asks for the reference.
    """
    made = (VlmFull if config.name == "full" else VlmLora)(family, config, seed, reference)
    without_dropout(made.model)
    return made


def without_dropout(model: nn.Module) -> None:
    """Dropout would make policy and reference differ at equal weights, also in the mode that recomputes activations."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0
    model.eval()
