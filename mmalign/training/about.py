"""What is said of a run's model before the first step, and in its card: what it is, how strongly it is trained, how the result is used."""

import inspect
import sys
from collections.abc import Mapping
from math import prod
from typing import Any

from mmalign import plugins
from mmalign.config import AdapterConfig, MethodConfig, ResponseRunConfig, RewardConfig, RunConfig, ScorerRunConfig
from mmalign.diffusion.adapters import takes_lora
from mmalign.diffusion.aligned import lora_file
from mmalign.diffusion.family import DiffusionFamily
from mmalign.objective import Objective, strength_fields
from mmalign.scorers.clip import ClipReward
from mmalign.training.parts import About
from mmalign.training.prompted import encoders_trained

PLACES = {"pretrained", "processor", "revision", "arch", "version", "device", "dtype", "batch_size"}
"""Fields of a scorer that say where it lies and runs, not what it measures."""


def about_generator(family: DiffusionFamily, config: RunConfig, objective: Objective) -> About:
    """What is said of an image generator. The configuration has the defaults of its family filled in."""
    kind = config.adapter.name
    files = {"full": ["the denoiser's weights"], "lora": [lora_file(family.pipe)], "none": []}[kind]
    if config.validation.steps and config.validation.prompts:
        how = f"{config.validation.num_inference_steps} denoising steps each, guidance {config.validation.guidance_scale:g}"
        files.append(f"samples/ every {config.validation.steps} steps ({how})")
    tags = ["text-to-image", "diffusers", "preference-alignment", config.method.name]
    base = config.model.pretrained or getattr(family.pipe, "name_or_path", "") or type(family.pipe).__name__
    return About(
        base=base,
        trained=f"LoRA of rank {config.adapter.rank}{_where(family, config.adapter)}" if kind == "lora" else kind,
        library="diffusers",
        tags=[*tags, "dora" if config.adapter.dora else "lora", "template:sd-lora"] if kind == "lora" else tags,
        usage=_use_of_generator(family, base, kind),
        files=files,
        strengths=strengths(objective, config.method, family.name, latent_size(family, config.data.resolution, config.data.frames)),
    )


def _where(family: DiffusionFamily, adapter: AdapterConfig) -> str:
    """Where a LoRA is, if it is not in the denoiser alone."""
    names = ", ".join(encoders_trained(family, adapter))
    return f" in {family.denoiser_name}, {names}" if names else ""


def strengths(objective: Objective, method: MethodConfig, family: str, size: int) -> dict[str, str]:
    """How strongly a method pulls on an image generator, in the unit of Diffusion-DPO and in those of other tools.

    Args:
        objective: the method.
        method: its section of the configuration, with the family's defaults filled in.
        family: name of the model's family.
        size: numbers of a picture's latent.
    """
    said = {"defaults": "; ".join(_defaults(method, family))}
    strength = objective.strength()
    if strength is not None:
        beta = "none that compares" if strength.beta is None else f"{strength.beta:g} on half the mean squared error"
        said["effective beta"] = f"{beta} ({strength.note})" if strength.note else beta
        if strength.beta is not None:
            same = (f"{there.number(strength.beta, size):.4g} in {there.code}" for there in objective.elsewhere)
            said["in other tools"] = "; ".join(same)
    return {name: text for name, text in said.items() if text}


def latent_size(family: DiffusionFamily, resolution: int | None, frames: int | None = None) -> int:
    """How many numbers the latent of a training picture has, for square ones of so many pixels a side, or of a clip of so many frames.

    None = as many as the family's own.
    """
    side = resolution or family.default_resolution
    return prod(family.latent_shape(side, side, frames))


def _defaults(method: MethodConfig, family: str, prefix: str = "") -> list[str]:
    """Of the strengths that were not given, those that the family gives, and those for which nothing is published."""
    kind, fields, published = plugins.load(method.package, method.name), method.fields(), method.family_fields(family)
    own = {name: fields[name] for name in strength_fields(kind) if name not in method.model_fields_set | published.keys()}
    said = [f"{_numbers(published, prefix)} (the default for {family}: {kind.family_defaults[family].source})"] if published else []
    said += [f"{_numbers(own, prefix)} (the method's own default: none is published for {family})"] if own else []
    for name, value in fields.items():
        said += _defaults(value, family, f"{prefix}{name}.") if isinstance(value, MethodConfig) else []
    return said


def _numbers(fields: Mapping[str, Any], prefix: str) -> str:
    return ", ".join(
        f"{prefix}{name} {value:g}" if isinstance(value, float) else f"{prefix}{name} {value}" for name, value in fields.items()
    )


def about_scorer(config: ScorerRunConfig, reward: ClipReward) -> About:
    """What is said of a reward scorer."""
    name, locking = config.scorer.name, config.locking
    base = getattr(config.scorer, "pretrained", name)
    parts = [
        f"{tower} tower" if layers is None else f"last {layers} {tower} layers"
        for tower, layers in (("image", locking.image_layers), ("text", locking.text_layers))
        if layers != 0
    ]
    parts += [] if locking.freeze_logit_scale else ["logit scale"]
    library = reward.clip.library
    return About(
        base=base,
        trained=", ".join(parts),
        library=library,
        tags=["reward-model", "text-to-image", "preference-alignment", name, config.method.name],
        usage=use_of_scorer(config.scorer, type(reward)),
        files=[f"the scorer as {library} saves it"],
        strengths={
            "logit scale": f"{reward.clip.logit_scale.item():.4g} at first"
            + ("" if locking.freeze_logit_scale else ", trained within 1 to 100")
        },
    )


def about_responses(config: ResponseRunConfig, objective: Objective) -> About:
    """What is said of a vision-language model."""
    full, base = config.adapter.name == "full", config.vlm.pretrained
    tags = ["image-text-to-text", "preference-alignment", config.method.name]
    strength = objective.strength()
    return About(
        base=base,
        trained="the language model" if full else f"LoRA of rank {config.adapter.rank} in the language model",
        library="transformers" if full else "peft",
        tags=tags if full else [*tags, "dora" if config.adapter.dora else "lora"],
        usage=_use_of_vlm(base, full),
        files=["the model and its processor" if full else "adapter_model.safetensors, adapter_config.json"],
        strengths={} if strength is None or strength.beta is None else {"beta": f"{strength.beta:g} on sums of log-probabilities"},
    )


def _use_of_vlm(base: str, full: bool) -> list[str]:
    place = "THIS_FOLDER" if full else base
    lines = [
        "from transformers import AutoModelForImageTextToText, AutoProcessor",
        "",
        f'model = AutoModelForImageTextToText.from_pretrained("{place}")',
        f'processor = AutoProcessor.from_pretrained("{place}")',
    ]
    return lines if full else [*lines, 'model.load_adapter("THIS_FOLDER")']


def use_of_scorer(scorer: RewardConfig, kind: type[ClipReward]) -> list[str]:
    """Lines of Python that load a trained scorer, with the fields that change what it measures."""
    fields = {name: value for name, value in scorer.fields().items() if name in scorer.model_fields_set - PLACES}
    said = "".join(f", {name}={value!r}" for name, value in fields.items())
    return [
        "from mmalign import rewards",
        "",
        f'scorer = rewards.load("{_with_weights(kind) or scorer.name}", pretrained="THIS_FOLDER"{said})',
        'scores = scorer.score(images, "a prompt")',
    ]


def _use_of_generator(family: DiffusionFamily, base: str, adapter: str) -> list[str]:
    kind = type(family.pipe).__name__
    lines = [f"from diffusers import {kind}", "", f'pipe = {kind}.from_pretrained("{base}")']
    part, name = family.denoiser_name, type(family.denoiser).__name__
    if adapter == "none":
        return lines
    if adapter == "lora" and takes_lora(family.pipe):
        return [*lines, 'pipe.load_lora_weights("THIS_FOLDER")']
    if adapter == "lora":
        return [lines[0], "from peft import PeftModel", *lines[1:], f'pipe.{part} = PeftModel.from_pretrained(pipe.{part}, "THIS_FOLDER")']
    lines[0] = f"from diffusers import {kind}, {name}"
    return [*lines, f'pipe.{part} = {name}.from_pretrained("THIS_FOLDER", subfolder="{part}")']


def _with_weights(kind: type[ClipReward]) -> str | None:
    """The name of the nearest reward above a class, or of itself, that can be told where its weights are."""
    for base in kind.__mro__:
        if getattr(sys.modules[base.__module__], "PLUGIN", None) is base and "pretrained" in inspect.signature(base).parameters:
            return base.__module__.removeprefix(f"{RewardConfig.package}.")
    return None
