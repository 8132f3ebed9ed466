"""A base and its aligned self in one pipeline: two samplers over the same noise, without a second model in memory."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from mmalign.diffusion.family import DiffusionFamily
from mmalign.errors import UserError

ADAPTER_NAME = "aligned"
LORA_FILE = "pytorch_lora_weights.safetensors"


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
        if (self.path / LORA_FILE).is_file():
            self._load_lora()
            self._other = None
        elif (self.path / family.denoiser_name).is_dir():
            kind, base = type(family.denoiser), family.denoiser
            self._other = kind.from_pretrained(self.path, subfolder=family.denoiser_name, dtype=base.dtype).to(family.device)
        else:
            wanted = f"neither {LORA_FILE} nor a folder {family.denoiser_name}"
            raise UserError(f"{path} holds {wanted}; give the output folder of a training run")

    def _load_lora(self) -> None:
        # diffusers warns that the text encoders' part is empty, as it should be
        log = logging.getLogger("diffusers.loaders.lora_base")
        level = log.level
        log.setLevel(logging.ERROR)
        try:
            self.family.pipe.load_lora_weights(self.path, adapter_name=ADAPTER_NAME)
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"the LoRA in {self.path} does not fit this base ({reason}); give the base that it was trained on") from error
        finally:
            log.setLevel(level)
        self.family.pipe.disable_lora()

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
            pipe.enable_lora()
        else:
            setattr(pipe, name, self._other)
        try:
            yield
        finally:
            if self._other is None:
                pipe.disable_lora()
            else:
                setattr(pipe, name, base)

    def close(self) -> None:
        """Takes the LoRA out of the pipeline again."""
        if self._other is None:
            self.family.pipe.delete_adapters(ADAPTER_NAME)
            self.family.pipe.enable_lora()
