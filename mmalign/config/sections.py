"""The sections of a training run that have the same keys whatever the method."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from mmalign.config.section import Section, named_mapping
from mmalign.plugins import nearest

Dtype = Literal["float32", "bfloat16", "float16"]


class ModelConfig(Section):
    """The pipeline to align."""

    family: str | None = Field(None, description="model family (`mmalign list families`); None = found from the pipeline's class")
    pretrained: str = Field(description="diffusers folder, hub id, or shapes/NAME for an embedded one; also pretrained_model_name_or_path")
    revision: str | None = Field(None, description="branch, tag or commit on the hub; None = its default branch")
    variant: str | None = Field(None, description="variant of the weight files, for instance fp16; None = the plain files")
    vae: str | None = Field(None, description="folder or hub id of a VAE that replaces the pipeline's; None = the pipeline's own")
    dtype: Dtype = Field("float32", description="number format of the weights that are not trained")
    quantization: Literal["nf4"] | None = Field(
        None, description="the denoiser in 4 bits under a LoRA, by bitsandbytes (extra `train`), on a GPU; None = as dtype says"
    )
    logit_normal: bool = Field(False, description="flow models only: draw timesteps by a logit-normal density; false = uniformly")
    timesteps: list[int] | None = Field(
        None, min_length=1, description="draw among these timesteps alone: those that a model of few steps was distilled for; None = all"
    )
    guidance: float | None = Field(
        None, ge=0, description="guidance scale that the denoiser takes as an input (FLUX.1-dev), no unit; None = the pipeline's default"
    )

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, values: Any) -> Any:
        return super()._known_keys(_renamed(values, "pretrained_model_name_or_path", "pretrained"))

    @model_validator(mode="after")
    def _the_density_is_used(self) -> "ModelConfig":
        if self.logit_normal and self.timesteps is not None:
            raise ValueError("logit_normal has no effect with timesteps, which are drawn equally often; leave one of them out")
        return self


class LoraAdapterConfig(Section):
    """Train a LoRA inside the denoiser; the reference is the model with the adapter off."""

    name: Literal["lora"] = Field("lora", description="kind of adapter: lora, full for all weights, or none with users")
    rank: int = Field(16, ge=1, description="rank of the update, dimensions")
    alpha: float | None = Field(None, gt=0, description="the update is scaled by alpha / rank, no unit; None = rank, a scale of 1")
    targets: list[str] | None = Field(None, min_length=1, description="names of the layers that take the LoRA; None = the family's list")
    rslora: bool = Field(False, description="scale by alpha / sqrt(rank) instead (rank-stabilized LoRA)")
    dora: bool = Field(False, description="learn magnitude and direction apart (DoRA)")
    text_encoders: bool = Field(False, description="train a LoRA in the CLIP text encoders too (sd, sdxl, sd3, flux); false = frozen")
    text_encoder_lr: float | None = Field(
        None, gt=0, description="step size for the text encoders' LoRA, no unit, in place of train.learning_rate; None = the same"
    )
    text_encoder_targets: list[str] = Field(
        ["q_proj", "k_proj", "v_proj", "out_proj"],
        min_length=1,
        description="names of the text encoders' layers that take the LoRA; kohya's has fc1 and fc2 too",
    )

    @model_validator(mode="after")
    def _text_encoders_are_trained(self) -> "LoraAdapterConfig":
        # a value that is the default is said by every resolved configuration, which must be readable
        for key in ("text_encoder_lr", "text_encoder_targets"):
            if not self.text_encoders and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} has no effect without text_encoders; set text_encoders to true")
        return self


class FullConfig(Section):
    """Train all weights of the denoiser; the reference is a frozen copy."""

    name: Literal["full"] = Field("full", description="kind of adapter: full for all weights, lora, or none with users")


class NoAdapterConfig(Section):
    """Train nothing in the denoiser: the conditioner of `users` alone; the reference is the denoiser without a user."""

    name: Literal["none"] = Field("none", description="kind of adapter: none, lora, or full for all weights")


ADAPTERS: dict[str, type[Section]] = {"lora": LoraAdapterConfig, "full": FullConfig, "none": NoAdapterConfig}


def adapter_section(name: Any) -> type[Section]:
    """The section of a kind of adapter, LoRA where none is named; another name is an error of validation that names the nearest."""
    if name is None:
        return LoraAdapterConfig
    if name not in ADAPTERS:
        context = {"name": repr(name), "hint": nearest(str(name), list(ADAPTERS))}
        raise PydanticCustomError("named", "unknown name {name} among adapters; {hint}", context)
    return ADAPTERS[name]


def _adapter(value: Any) -> Any:
    if isinstance(value, LoraAdapterConfig | FullConfig | NoAdapterConfig):
        return value
    value = named_mapping(value)
    return adapter_section(value.get("name")).model_validate(value)


AdapterConfig = Annotated[LoraAdapterConfig | FullConfig | NoAdapterConfig, BeforeValidator(_adapter)]


class SourceConfig(Section):
    """Preferences: where they are, and how they are read."""

    name: str = Field(
        "auto",
        description="reader of the data (`mmalign list datasets`); auto = found from the source; prompts = no pictures, for `online`",
    )
    source: str = Field(description="file (.parquet, .jsonl, .csv, .tar ...), folder, or data set on the hub")
    columns: dict[str, str | bool | int | float | None] = Field(
        default_factory=dict, description="the reader's column names where yours differ, {caption: text}, and its other options"
    )
    split: str | None = Field(None, description="split of a data set that has several; None = train")
    limit: int | None = Field(None, ge=1, description="use the first so many rows; None = all")
    stream: int | None = Field(
        None, ge=1, description="of a data set on the hub: read so many rows over the network, kept for later runs; None = download all"
    )
    ties: Literal["drop", "half", "soft"] = Field(
        "drop", description="rows that prefer no image: drop = leave out; half = both orders at half weight; soft = once, preference 0.5"
    )
    on_broken: Literal["raise", "skip"] = Field("raise", description="a row with an image that cannot be read: stop, or leave it out")


class DataConfig(SourceConfig):
    """The preferences to train on."""

    resolution: int | None = Field(None, ge=8, description="side of the square images to train on, pixels; None = the pipeline's own")
    frames: int | None = Field(None, ge=1, description="films only: frames of a clip, from its start; None = as the model was trained")
    fps: float | None = Field(None, gt=0, description="films only: frames per second that are taken of a clip; None = all that it has")
    center_crop: bool = Field(True, description="crop at the center; false = at a random place, the same for the candidates of a row")
    random_flip: bool = Field(False, description="mirror a row's candidates together with probability 0.5")
    caption_dropout: float = Field(0.0, ge=0, le=1, description="share of the steps in which a row's prompt is empty")
    buckets: bool = Field(
        False, description="train on pictures of several shapes, those of one shape together; false = all are cut to squares"
    )
    bucket_sizes: list[tuple[int, int]] | None = Field(
        None, min_length=1, description="sizes of the buckets, [width, height] in pixels; None = made, with the area of resolution"
    )
    bucket_step: int | None = Field(
        None, ge=1, description="sides of made buckets are multiples of this, pixels; None = 1/16 of resolution, rounded up to what fits"
    )
    bucket_max_aspect: float = Field(2.0, ge=1, description="longer side of a made bucket over its shorter one at most, no unit")
    bucket_min_rows: int = Field(32, ge=1, description="buckets with fewer rows are merged with the nearest in shape, rows")
    cache_dir: Path | None = Field(
        None, description="folder for cached latents, prompt embeddings and the reference's errors; None = in memory"
    )
    cache_dtype: Dtype = Field("float32", description="number format of cached latents and embeddings, which are not made longer")
    reference_draws: int = Field(
        0,
        ge=0,
        description="noises and timesteps of a row, which its epochs go through in turn, so that the reference's errors are computed "
        "once for all runs; 0 = other ones each time, with a live reference",
    )

    @model_validator(mode="after")
    def _buckets_are_used(self) -> "DataConfig":
        # a value that is the default is said by every resolved configuration, which must be readable
        fields = [(key, field.default) for key, field in type(self).model_fields.items() if key.startswith("bucket_")]
        given = sorted(key for key, default in fields if getattr(self, key) != default)
        if given and not self.buckets:
            raise ValueError(f"{given[0]} has no effect without buckets; set buckets to true")
        if self.bucket_sizes is not None and (made := [key for key in given if key in ("bucket_step", "bucket_max_aspect")]):
            raise ValueError(f"{made[0]} has no effect with bucket_sizes; leave one of them out")
        return self


Scheduler = Literal["constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial"]


class TrainConfig(Section):
    """How to train. The names are those of the diffusers scripts."""

    max_train_steps: int = Field(2000, ge=1, description="optimizer steps")
    train_batch_size: int = Field(1, ge=1, description="pairs per device and micro-batch")
    gradient_accumulation_steps: int = Field(1, ge=1, description="micro-batches per optimizer step")
    learning_rate: float = Field(1e-5, gt=0, description="step size of the optimizer after the warm-up, no unit")
    scale_lr: bool = Field(False, description="multiply learning_rate by the pairs of an optimizer step over all devices")
    lr_scheduler: Scheduler = Field("constant", description="course of the learning rate, by diffusers' names")
    lr_warmup_steps: int = Field(0, ge=0, description="optimizer steps of linear warm-up; constant takes none, constant_with_warmup does")
    optimizer: Literal["adamw", "adamw_8bit", "adafactor"] = Field("adamw", description="optimizer; adamw_8bit needs the extra `train`")
    adam_beta1: float = Field(0.9, ge=0, lt=1, description="decay of the first moment per step")
    adam_beta2: float = Field(0.999, ge=0, lt=1, description="decay of the second moment per step")
    adam_weight_decay: float = Field(1e-2, ge=0, description="decoupled weight decay per step, in units of the learning rate")
    decay_vectors: bool = Field(True, description="decay biases, gains and other parameters with fewer than two dimensions too")
    adam_epsilon: float = Field(1e-8, gt=0, description="added to the root of the second moment, in units of a gradient")
    max_grad_norm: float | None = Field(1.0, gt=0, description="clip the gradient to this L2 norm; None = no clipping")
    mixed_precision: Literal["no", "bf16", "fp16"] = Field("no", description="number format of the forward pass of what is trained")
    gradient_checkpointing: bool = Field(False, description="recompute activations in the backward pass: less memory, more time")
    ema_decay: float | None = Field(None, gt=0, lt=1, description="decay per step of the weights' average, which is saved too; None = none")
    checkpointing_steps: int = Field(500, ge=1, description="optimizer steps between checkpoints")
    checkpoints_total_limit: int | None = Field(None, ge=1, description="keep the newest so many checkpoints; None = all")
    resume_from_checkpoint: str | None = Field(None, description="latest, or the folder of a checkpoint; None = start anew")
    dataloader_num_workers: int = Field(0, ge=0, description="processes that load data; 0 = none beside the main one")
    report_to: Literal["tensorboard", "wandb", "trackio", "none"] = Field("tensorboard", description="where the numbers are logged")
    logging_steps: int = Field(10, ge=1, description="optimizer steps between logged numbers, which are means over them")

    @model_validator(mode="after")
    def _warmup_is_used(self) -> "TrainConfig":
        if self.lr_warmup_steps and self.lr_scheduler == "constant":
            raise ValueError("lr_warmup_steps has no effect with lr_scheduler constant; choose constant_with_warmup")
        return self


class ValidationConfig(Section):
    """Pictures drawn during the run, to look at."""

    prompts: list[str] = Field(default_factory=list, description="prompts to draw, one picture each")
    steps: int | None = Field(None, ge=1, description="optimizer steps between drawings; None = never")
    num_inference_steps: int | None = Field(None, ge=1, description="denoising steps per picture; None = the model's own default")
    guidance_scale: float | None = Field(
        None, ge=0, description="classifier-free guidance, no unit; 1 or less = none; None = the model's own default"
    )
    height: int | None = Field(None, ge=8, description="of the pictures, pixels; None = the pipeline's default")
    width: int | None = Field(None, ge=8, description="of the pictures, pixels; None = the pipeline's default")
    frames: int | None = Field(None, ge=1, description="films only: frames of a clip; None = data.frames")
    seed: int = Field(0, ge=0, description="seed of the noise: the same at every drawing")

    @property
    def size(self) -> dict[str, Any]:
        """How large and how long what is drawn is, as ``DiffusionFamily.sized`` takes it."""
        return {name: getattr(self, name) for name in ("height", "width", "frames")}

    @model_validator(mode="after")
    def _something_to_draw(self) -> "ValidationConfig":
        if self.steps and not self.prompts:
            raise ValueError("steps is set but prompts is empty; give prompts to draw, or leave steps out")
        return self


def _renamed(values: Any, alias: str, name: str) -> Any:
    """Reads a second name of a key. Both at once are left to be refused as an unknown key."""
    if isinstance(values, dict) and alias in values and name not in values:
        return {name if key == alias else key: value for key, value in values.items()}
    return values
