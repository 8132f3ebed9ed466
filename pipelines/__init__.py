"""Model families: one file each. ``load(name_or_pipe, ...)`` gives the family of a pipeline."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import diffusers
import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from safetensors import SafetensorError

from mmalign import plugins
from mmalign.config import ModelConfig, VlmConfig
from mmalign.diffusion.family import DEFAULTS, DiffusionFamily, FamilyOptions
from mmalign.diffusion.quantized import quantization_of
from mmalign.errors import UserError
from mmalign.hub import not_given
from mmalign.shapes.models import is_embedded, resolve
from mmalign.shapes.settings import CALL
from mmalign.vlm.family import VlmFamily
from mmalign.vlm.load import load_model

Family = TypeVar("Family")


def load(name_or_pipe: Any, pretrained: str | Path | None = None, *, options: FamilyOptions = DEFAULTS, **opening: Any) -> DiffusionFamily:
    """A family bound to a pipeline.

    Args:
        name_or_pipe: a diffusers pipeline, whose family is found by its class; or a family's name; or, with ``pretrained`` left out,
            a folder or hub id, whose family is found too.
        pretrained: a diffusers folder or hub id, or "shapes/NAME" for a pipeline of the embedded world.
        options: how the denoiser is asked.
        **opening: see ``open_pipeline``.

    Raises:
        UserError: unknown family, a pipeline that no family knows, or nothing to load at that place.
    """
    if not isinstance(name_or_pipe, str | Path):
        return _bound(family_of(name_or_pipe), name_or_pipe, options)
    if pretrained is None:
        pipe = open_pipeline(name_or_pipe, **opening)
        return _bound(family_of(pipe), pipe, options)
    family = plugins.load(__name__, str(name_or_pipe))
    pipe = open_pipeline(pretrained, **opening)
    if type(pipe).__name__ not in family.pipeline_classes:
        raise UserError(
            f"{pretrained} holds a {type(pipe).__name__}, but the family {name_or_pipe!r} is for {' or '.join(family.pipeline_classes)}; "
            f"leave the family out and it is found"
        )
    return _bound(family, pipe, options)


def _bound(kind: type[DiffusionFamily], pipe: Any, options: FamilyOptions) -> DiffusionFamily:
    family = kind(pipe, options)
    if is_embedded(pipe.name_or_path):
        family.tuned = CALL
    return family


def configured(model: ModelConfig) -> DiffusionFamily:
    """The family and pipeline that a configuration names. Raises UserError as ``load`` does."""
    place = (model.pretrained,) if model.family is None else (model.family, model.pretrained)
    opening = {"dtype": model.dtype, "vae": model.vae, "variant": model.variant, "revision": model.revision}
    return load(*place, quantization=model.quantization, options=options_of(model), **opening)


def options_of(model: ModelConfig) -> FamilyOptions:
    """How a configuration has the denoiser asked."""
    return FamilyOptions(model.logit_normal, None if model.timesteps is None else tuple(model.timesteps), model.guidance)


def family_of(pipe: Any) -> type[DiffusionFamily]:
    """The family class that knows this pipeline's class."""
    known = families(DiffusionFamily)
    for family in known.values():
        if type(pipe).__name__ in family.pipeline_classes:
            return family
    raise UserError(f"no family knows the pipeline {type(pipe).__name__}; there are: {', '.join(known)}")


def families(kind: type[Family]) -> dict[str, type[Family]]:
    """The families of image generators (``DiffusionFamily``) or of vision-language models (``VlmFamily``), by name."""
    known = {name: plugins.load(__name__, name) for name in plugins.names(__name__)}
    return {name: family for name, family in known.items() if issubclass(family, kind)}


def load_vlm(model: Any, processor: Any, family: str | None = None) -> VlmFamily:
    """A family bound to a vision-language model and its processor.

    Args:
        family: its name; None = the one that is for the model's type, else what all share.

    Raises:
        UserError: unknown family, or one for other models.
    """
    known, kind = families(VlmFamily), model.config.model_type
    if family is not None:
        chosen = plugins.load(__name__, family)
        if not issubclass(chosen, VlmFamily) or (chosen.model_types and kind not in chosen.model_types):
            raise UserError(f"the family {family!r} is not for models of the type {kind!r}; leave it out and it is found")
        return chosen(model, processor)
    fits = [one for one in known.values() if kind in one.model_types]
    return (fits[0] if fits else known["image_text_to_text"])(model, processor)


def configured_vlm(config: VlmConfig) -> VlmFamily:
    """The family and model that a configuration names. Raises UserError where there is none."""
    model, processor = load_model(resolve(config.pretrained), config.revision, getattr(torch, config.dtype), config.attention)
    return load_vlm(model, processor, config.family)


def open_pipeline(
    source: str | Path,
    *,
    dtype: str = "float32",
    vae: str | None = None,
    variant: str | None = None,
    revision: str | None = None,
    quantization: str | None = None,
    kind: type[DiffusionPipeline] = DiffusionPipeline,
    parts: Mapping[str, Any] | None = None,
) -> Any:
    """A diffusers pipeline from a folder, a hub id, or "shapes/NAME".

    Args:
        source: where it is.
        dtype: number format of its weights: float32, bfloat16 or float16.
        vae: folder or hub id of a VAE in place of the pipeline's own.
        variant: variant of the weight files, such as "fp16".
        revision: branch, tag or commit on the hub.
        quantization: of its denoiser, "nf4"; None = none.
        kind: class of the pipeline; that of diffusers itself takes the one that the folder names.
        parts: further arguments of its ``from_pretrained``, such as ``{"text_encoder_3": None}``.

    Raises:
        UserError: there is no such folder or model; the message says what was looked for.
    """
    place, number = found(source), getattr(torch, dtype)
    given = {name: value for name, value in (("variant", variant), ("revision", revision)) if value is not None}
    try:
        # an SD3 saved without T5 has empty slots, which diffusers refuses unless they are named
        index = DiffusionPipeline.load_config(place, revision=revision)
        if vae is not None:
            given["vae"] = getattr(diffusers, index["vae"][1], AutoencoderKL).from_pretrained(vae, dtype=number)
        if quantization is not None:
            given["quantization_config"] = quantization_of(quantization, "transformer" if "transformer" in index else "unet", dtype)
        empty = {name: None for name, value in index.items() if value == [None, None]}
        _reach_moved(index)
        return kind.from_pretrained(place, dtype=number, **empty | given | dict(parts or {}))
    except Exception as error:
        reason = not_given(error)
        if reason is None and not isinstance(error, OSError | SafetensorError):
            raise
        hint = "; its files are the fp16 variant: set variant fp16" if any(Path(place).glob("*/*.fp16.*")) and variant is None else ""
        raise UserError(f"cannot load a pipeline from {source}: {reason or str(error).splitlines()[0]}{hint}") from error


def pipeline_class(source: str | Path, revision: str | None = None) -> type[DiffusionPipeline]:
    """The class of a pipeline, without loading it; of one that diffusers does not have itself, the class that all share.

    Raises:
        UserError: there is no such folder or model.
    """
    place = found(source)
    try:
        name = DiffusionPipeline.load_config(place, revision=revision).get("_class_name")
    except Exception as error:
        reason = not_given(error)
        if reason is None and not isinstance(error, OSError):
            raise
        raise UserError(f"cannot load a pipeline from {source}: {reason or str(error).splitlines()[0]}") from error
    return getattr(diffusers, name, DiffusionPipeline) if isinstance(name, str) else DiffusionPipeline


def found(source: str | Path) -> str:
    """A folder with a pipeline, or a hub id. Raises UserError where there is no such folder."""
    place = resolve(str(source))
    if looks_local(place) and not (Path(place) / "model_index.json").is_file():
        reason = "there is no such folder" if not Path(place).exists() else "the folder holds no model_index.json"
        raise UserError(f"cannot load a pipeline from {source}: {reason}; give a diffusers folder or a hub id")
    return place


def _reach_moved(index: Mapping[str, Any]) -> None:
    """Lets diffusers find components in modules that it has moved, as Stable Cascade's VQGAN (huggingface/diffusers issue 14008)."""
    from diffusers.pipelines import deprecated

    for library in {value[0] for value in index.values() if isinstance(value, list | tuple) and len(value) == 2}:
        if isinstance(library, str) and not hasattr(diffusers.pipelines, library) and hasattr(deprecated, library):
            setattr(diffusers.pipelines, library, getattr(deprecated, library))


def looks_local(place: str) -> bool:
    """Whether a place is a path rather than a hub id (``owner/name``)."""
    return Path(place).exists() or place.startswith(("/", ".", "~")) or place.count("/") != 1
