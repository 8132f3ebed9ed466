"""What a run left behind: which model it started from, and where the adapter or the weights lie."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import transformers
from accelerate import init_empty_weights
from diffusers import DiffusionPipeline
from torch import nn

from mmalign import pipelines, plugins
from mmalign.config import ModelConfig, RunConfig, load_training
from mmalign.delivery.lora import in_clip
from mmalign.diffusion.adapters import PEFT_WEIGHTS
from mmalign.diffusion.aligned import LORA_FILE
from mmalign.errors import UserError
from mmalign.hub import not_given
from mmalign.training.run import CONFIG_FILE

ADAPTERS = (LORA_FILE, PEFT_WEIGHTS)
"""Files of an adapter: as pipelines of diffusers read one, and as peft does."""


@dataclass(frozen=True)
class Result:
    """A folder with the result of a run on an image generator: that of the run itself, or one of its checkpoints.

    Attributes:
        folder: where the LoRA or the denoiser lies.
        model: the base; None = the folder does not say, and nothing was given.
        config: the run's configuration; None = the folder has none.
    """

    folder: Path
    model: ModelConfig | None
    config: RunConfig | None

    @property
    def is_lora(self) -> bool:
        return any((self.folder / name).is_file() for name in ADAPTERS)

    @property
    def is_peft(self) -> bool:
        """Whether it is an adapter in peft's own format, as pipelines have it that read no LoRA by themselves."""
        return (self.folder / PEFT_WEIGHTS).is_file()

    @property
    def lora(self) -> Path:
        """The LoRA's file.

        Raises:
            UserError: the run trained all weights, or its pipeline reads adapters in peft's own format.
        """
        if self.is_peft:
            raise UserError(
                f"{self.folder} holds an adapter in peft's own format, the only one that its pipeline's loaders take; export merged"
            )
        if not self.is_lora:
            raise UserError(f"{self.folder} holds no {LORA_FILE}; a run on all weights can be exported as merged, not as a LoRA")
        return self.folder / LORA_FILE

    @property
    def base(self) -> ModelConfig:
        """The base. Raises UserError where it is not known."""
        if self.model is None:
            raise UserError(f"{self.folder} has no {CONFIG_FILE} that says what it was trained from; give the base with --pretrained")
        return self.model


def find_result(folder: str | Path, pretrained: str | None = None) -> Result:
    """The result in a folder.

    Args:
        folder: that of a run, or of one of its checkpoints, or any that holds a LoRA in diffusers' format.
        pretrained: the base, in place of the one that the run's configuration names.

    Raises:
        UserError: there is no such folder, nothing in it was trained, or it is no image generator's.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; give the output folder of a training run")
    saved = next((place / CONFIG_FILE for place in (folder, folder.parent) if (place / CONFIG_FILE).is_file()), None)
    config = None if saved is None else load_training(saved)
    if config is not None and not isinstance(config, RunConfig):
        raise UserError(f"{folder} is a run on a {_other(config)}, whose files the stock libraries read as they are; push it instead")
    if not any((folder / name).exists() for name in (*ADAPTERS, "unet", "transformer")):
        raise UserError(f"{folder} holds neither {LORA_FILE} nor a denoiser; give the output folder of a training run that ended")
    model = None if config is None else config.model
    if pretrained is not None:
        model = ModelConfig(pretrained=pretrained) if model is None else model.model_copy(update={"pretrained": pretrained})
    return Result(folder, model, config)


def _other(config: Any) -> str:
    return "reward scorer" if hasattr(config, "scorer") else "vision-language model"


@dataclass(frozen=True)
class Base:
    """The shape of a base: what its pipeline is, and its denoiser without weights."""

    pipeline: str
    denoiser_name: str
    denoiser: nn.Module

    @property
    def layers(self) -> dict[str, nn.Module]:
        """The denoiser's layers by path."""
        return dict(self.denoiser.named_modules())


def outline_of(model: ModelConfig) -> Base:
    """Reads a base's configuration, and none of its weights.

    Raises:
        UserError: there is no such pipeline, or no family knows it.
    """
    place = pipelines.found(model.pretrained)
    try:
        index = DiffusionPipeline.load_config(place, revision=model.revision)
        known = pipelines.families(pipelines.DiffusionFamily)
        named = [family for family in known.values() if index.get("_class_name") in family.pipeline_classes]
        family = plugins.load(pipelines.__name__, model.family) if model.family else (named or [None])[0]
        if family is None:
            raise UserError(f"no family knows the pipeline {index.get('_class_name')} of {model.pretrained}; there are: {', '.join(known)}")
        kind = getattr(diffusers, index[family.denoiser_name][1])
        with init_empty_weights():
            denoiser = kind.from_config(kind.load_config(place, subfolder=family.denoiser_name, revision=model.revision))
    except Exception as error:
        reason = not_given(error)
        if reason is None and not isinstance(error, OSError):
            raise
        raise UserError(f"cannot read the base {model.pretrained}: {reason or str(error).splitlines()[0]}") from error
    return Base(index["_class_name"], family.denoiser_name, denoiser)


def encoder_layers(model: ModelConfig, name: str) -> list[str]:
    """The paths of a text encoder's layers in their order, each beginning with ``text_model.``; none of its weights is read.

    Raises:
        UserError: the base has no such text encoder.
    """
    place = pipelines.found(model.pretrained)
    try:
        kind = getattr(transformers, DiffusionPipeline.load_config(place, revision=model.revision)[name][1])
        with init_empty_weights():
            encoder = kind(kind.config_class.from_pretrained(place, subfolder=name, revision=model.revision))
    except (OSError, KeyError, TypeError) as error:
        raise UserError(f"cannot read the {name} of the base {model.pretrained}: {str(error).splitlines()[0]}") from error
    return [in_clip(path) for path, _ in encoder.named_modules()]
