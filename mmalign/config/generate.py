"""The configuration of ``mmalign generate``: prompts by models by seeds."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from mmalign.config.section import Section
from mmalign.config.sections import Dtype

OURS = ("prompt", "generator", "output_type", "return_dict", "num_images_per_prompt", "latents")
"""Arguments of a pipeline's call that are not the user's to give."""


class GeneratorConfig(Section):
    """A model that draws: any pipeline of diffusers, with or without what was aligned of it."""

    pretrained: str = Field(description="diffusers folder, hub id, or shapes/NAME for an embedded one")
    label: str | None = Field(None, description="name in the column model; None = the last part of pretrained, and of adapter_path")
    adapter_path: str | None = Field(
        None, description="a LoRA (folder, file or hub id), or a folder with the full denoiser; None = the base"
    )
    adapter_scale: float = Field(1.0, description="strength of the LoRA, and of the user conditioner, no unit")
    user: str | dict[str, float] | None = Field(
        None, description="for whom it draws: a name that the run in adapter_path knows, or a mixture {ann: 0.3, ben: 0.7}; None = nobody"
    )
    revision: str | None = Field(None, description="branch, tag or commit on the hub; None = its default branch")
    variant: str | None = Field(None, description="variant of the weight files, for instance fp16; None = the plain files")
    vae: str | None = Field(None, description="folder or hub id of a VAE that replaces the pipeline's; None = the pipeline's own")
    dtype: Dtype = Field("float32", description="number format of the weights")
    pipeline: str | None = Field(None, description="class of diffusers to load it with; None = the one that the model names")
    parts: dict[str, Any] = Field(
        default_factory=dict, description="further arguments of from_pretrained, as in {text_encoder_3: null, tokenizer_3: null}"
    )
    offload: bool = Field(False, description="keep parts of the pipeline on the CPU while they are not needed: less memory, more time")
    batch_size: int | None = Field(None, ge=1, description="pictures drawn at once by this model; None = batch_size of the run")
    call: dict[str, Any] = Field(
        default_factory=dict, description="arguments of this model's call, over those of the run; null = its default"
    )

    @property
    def title(self) -> str:
        """How the model is called in tables."""
        parts = [Path(place).name or place for place in (self.pretrained, self.adapter_path) if place is not None]
        mixture = self.user if isinstance(self.user, dict) else {}
        person = " and ".join(f"{share:g} {name}" for name, share in mixture.items()) or self.user
        return self.label or "+".join(parts) + (f" for {person}" if person else "")

    @model_validator(mode="after")
    def _users_are_known_to_a_run(self) -> "GeneratorConfig":
        if self.user is not None and self.adapter_path is None:
            raise ValueError(
                "user is known to the run in adapter_path, which is not given; give the folder of a run with the section users"
            )
        return self


def _bare(value: Any) -> Any:
    """A bare name stands for the model with its defaults."""
    return {"pretrained": value} if isinstance(value, str) else value


Generator = Annotated[GeneratorConfig, BeforeValidator(_bare)]


FPS = 16.0
"""Frames a second of the clips that are written, unless said: what Wan 2.1 was trained on."""


class DrawsConfig(Section):
    """How pictures, or clips, are drawn and kept."""

    models: list[Generator] = Field(
        min_length=1, description="pipelines: folders, hub ids, shapes/NAME, or {pretrained: ..., its own fields}"
    )
    seeds_per_prompt: int = Field(1, ge=1, description="pictures per prompt and model")
    seed: int = Field(0, ge=0, description="the first of the seeds; the others follow it")
    num_inference_steps: int | None = Field(None, ge=1, description="denoising steps per picture; None = each pipeline's default")
    guidance_scale: float | None = Field(None, ge=0, description="classifier-free guidance, no unit; None = each pipeline's default")
    height: int | None = Field(None, ge=8, description="of the pictures, pixels; None = each pipeline's default")
    width: int | None = Field(None, ge=8, description="of the pictures, pixels; None = each pipeline's default")
    frames: int | None = Field(None, ge=1, description="films only: frames of a clip; None = each pipeline's default")
    fps: float | None = Field(None, gt=0, le=240, description="films only: frames a second that clips are written with; None = 16")
    call: dict[str, Any] = Field(default_factory=dict, description="further arguments of the pipelines' call, {negative_prompt: blurry}")
    batch_size: int = Field(4, ge=1, description="pictures drawn at once")
    image_format: Literal["png", "jpeg", "webp", "mp4"] = Field(
        "png", description="format of the pictures; png loses nothing, and is animated for clips; mp4 = H.264, for clips alone"
    )
    quality: int | None = Field(None, ge=1, le=100, description="of jpeg and webp, 1 to 100; None = 95 for jpeg, webp without loss")
    shard_size: int | None = Field(
        None, ge=1, description="pictures per Parquet file, which is what a kill can lose; whole batches; None = 128, of clips 8"
    )

    @model_validator(mode="after")
    def _models_are_told_apart(self) -> "DrawsConfig":
        titles = [model.title for model in self.models]
        for title in titles:
            if titles.count(title) > 1:
                raise ValueError(f"models has {title!r} twice; give each a label of its own, as in {{pretrained: ..., label: LABEL}}")
        return self

    @model_validator(mode="after")
    def _calls_are_the_user_s(self) -> "DrawsConfig":
        for call in (self.call, *(model.call for model in self.models)):
            for name in OURS:
                if name in call:
                    raise ValueError(f"call has {name!r}, which generate sets itself; leave it out")
        return self

    @model_validator(mode="after")
    def _png_has_no_quality(self) -> "DrawsConfig":
        if self.image_format in ("png", "mp4") and self.quality is not None:
            raise ValueError(f"quality has no effect on {self.image_format}; leave it out, or choose jpeg or webp as image_format")
        return self

    def call_of(self, model: GeneratorConfig) -> dict[str, Any]:
        """The arguments of a model's call, by name."""
        shared = {name: getattr(self, name) for name in ("num_inference_steps", "guidance_scale", "height", "width")}
        shared["num_frames"] = self.frames
        return {name: value for name, value in {**shared, **self.call, **model.call}.items() if value is not None}

    def batch_of(self, model: GeneratorConfig) -> int:
        """How many pictures a model draws at once."""
        return model.batch_size or self.batch_size


class GenerateConfig(DrawsConfig):
    """Pictures, or clips, of prompts by models, as Parquet shards."""

    prompts: str = Field("shapes/pairs", description="prompts: a file, a set (`mmalign list prompts`), or shapes/SPLIT")
    limit: int | None = Field(None, ge=1, description="use the first so many prompts; None = all")
    out: Path = Field(Path("pictures"), description="folder of Parquet files to write")
    overwrite: bool = Field(False, description="start anew where the output, or a part of it, is there already")
