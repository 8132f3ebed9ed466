"""A base and its aligned self in one pipeline: two samplers over the same noise, without a second model in memory."""

import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor, nn

from mmalign.diffusion.adapters import PEFT_CONFIG, PEFT_WEIGHTS, load_peft, peft_folder, remove_adapter, takes_lora, turn
from mmalign.diffusion.family import DiffusionFamily
from mmalign.errors import UserError

ADAPTER_NAME = "aligned"
LORA_FILE = "pytorch_lora_weights.safetensors"
LAYER = re.compile(r"lora(_A|[._]down|_linear_layer\.down)\b")
"""In a file's keys, one half of each layer."""


class Aligned:
    """Draws with the base, or with what alignment made of it.

    Args:
        family: the base, bound to its pipeline.
        path: a folder with a LoRA, or with the whole denoiser in a subfolder of its name.
        **call: how to sample, see ``DiffusionFamily.sample``.

    Raises:
        UserError: the folder holds neither, or what it holds belongs to another model.
    """

    def __init__(self, family: DiffusionFamily, path: str | Path, **call: Any):
        self.family, self.path, self.call = family, Path(path), call
        file = lora_file(family.pipe)
        if (self.path / file).is_file():
            load_adapter(family.pipe, family.denoiser_name, self.path)
            turn(family.pipe, family.denoiser_name, on=False)
            self._other = None
        elif (self.path / family.denoiser_name).is_dir():
            self._other = denoiser_from(self.path, family.denoiser_name, family.denoiser).to(family.device)
        else:
            wanted = f"neither {file} nor a folder {family.denoiser_name}"
            raise UserError(f"{path} holds {wanted}; give the output folder of a training run")

    def base(self, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """Pictures (N, 3, H, W) in [0, 1] by the base."""
        return self.family.sample(prompts, seeds, batch_size=len(prompts), **self.call)

    def aligned(self, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """Pictures (N, 3, H, W) in [0, 1] by the aligned model, from the noise of the same seeds."""
        with self.switched():
            return self.family.sample(prompts, seeds, batch_size=len(prompts), **self.call)

    @contextmanager
    def switched(self) -> Iterator[None]:
        """Inside it, the pipeline is the aligned one."""
        pipe, name = self.family.pipe, self.family.denoiser_name
        base = getattr(pipe, name)
        if self._other is None:
            turn(pipe, name, on=True)
        else:
            setattr(pipe, name, self._other)
        try:
            yield
        finally:
            if self._other is None:
                turn(pipe, name, on=False)
            else:
                setattr(pipe, name, base)

    def close(self) -> None:
        """Takes the LoRA out of the pipeline again."""
        pipe, denoiser = self.family.pipe, self.family.denoiser
        if self._other is not None:
            return
        if takes_lora(pipe):
            pipe.delete_adapters(ADAPTER_NAME)
            pipe.enable_lora()
        else:
            remove_adapter(denoiser, ADAPTER_NAME)


def lora_file(pipe: Any) -> str:
    """The name of the file that a LoRA for a pipeline is in: diffusers', or peft's where the pipeline reads none by itself."""
    return LORA_FILE if takes_lora(pipe) else PEFT_WEIGHTS


def load_adapter(pipe: Any, denoiser: str, place: str | Path, name: str = ADAPTER_NAME) -> None:
    """Puts a LoRA into a pipeline, switched on: diffusers', or peft's where the pipeline reads none by itself.

    Args:
        pipe: a pipeline of diffusers.
        denoiser: what it calls the part that is aligned; empty = it has none.
        place: as ``load_lora`` takes it; of peft's a folder, or the hub id of one.
        name: what it is called within the model.

    Raises:
        UserError: it belongs to another model, or pipelines of this class take none.
    """
    folder = None if takes_lora(pipe) else peft_folder(place)
    if folder is None or not denoiser or not (folder / PEFT_CONFIG).is_file():
        load_lora(pipe, place, name)
        return
    module = getattr(pipe, denoiser)
    try:
        load_peft(module, folder, name)
    except (RuntimeError, ValueError, OSError, SafetensorError) as error:
        if name in getattr(module, "peft_config", {}):
            remove_adapter(module, name)
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"the LoRA in {place} does not fit this base ({reason}); give the base that it was trained on") from error


def load_lora(pipe: Any, place: str | Path, adapter_name: str = ADAPTER_NAME) -> None:
    """Puts a LoRA into a pipeline, switched on.

    Args:
        pipe: a pipeline of diffusers.
        place: a folder, a file, or a hub id; only safetensors are read.
        adapter_name: what diffusers should call it.

    Raises:
        UserError: it belongs to another model, or pipelines of this class take none.
    """
    if not hasattr(pipe, "load_lora_weights"):
        raise UserError(f"{type(pipe).__name__} takes no LoRA from {place}; give a folder with the full model, or leave the adapter out")
    file = Path(place) if Path(place).is_file() else None
    given = {"use_safetensors": True} | ({} if file is None else {"weight_name": file.name})
    source = place if file is None else file.parent
    try:
        with _quiet():
            layers = _layers(pipe.lora_state_dict(source, **given))
            pipe.load_lora_weights(source, adapter_name=adapter_name, **given)
        if (fit := _fitted(pipe, adapter_name)) < layers or not fit:
            raise ValueError(f"{fit} of its {layers} layers are in this model")
    except (RuntimeError, ValueError, KeyError, SafetensorError) as error:
        if any(adapter_name in names for names in pipe.get_list_adapters().values()):
            pipe.delete_adapters(adapter_name)
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"the LoRA in {place} does not fit this base ({reason}); give the base that it was trained on") from error


def _layers(read: Any) -> int:
    """Of how many layers a file tells."""
    state = read[0] if isinstance(read, tuple) else read
    return sum(LAYER.search(name) is not None for name in state)


def _fitted(pipe: Any, adapter_name: str) -> int:
    """How many layers of the pipeline have the adapter."""
    parts = (getattr(pipe, name, None) for name in pipe._lora_loadable_modules)
    modules = (module for part in parts if part is not None for module in part.modules())
    return sum(adapter_name in getattr(module, "lora_A", ()) for module in modules)


@contextmanager
def _quiet() -> Iterator[None]:
    """diffusers warns that the text encoders' part is empty, as it should be, and of a second adapter that the first one's is missing."""
    logs = [logging.getLogger(f"diffusers.{name}") for name in ("loaders.lora_base", "loaders.peft", "utils.peft_utils")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def denoiser_from(place: Path, name: str, base: nn.Module) -> nn.Module:
    """The denoiser in the subfolder of its name, of the class and in the number format of the base's."""
    return type(base).from_pretrained(place, subfolder=name, dtype=base.dtype)  # type: ignore[attr-defined]
