"""The configuration of a training run of a vision-language model."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from mmalign.config.frames import FramesConfig
from mmalign.config.guard import Guard
from mmalign.config.run import Method, OutputDir, Seed, Train, TrainingConfig
from mmalign.config.section import Section
from mmalign.config.sections import AdapterConfig, Dtype, LoraAdapterConfig, TrainConfig


class VlmConfig(Section):
    """The vision-language model to align."""

    family: str | None = Field(None, description="model family (`mmalign list families`); None = found from the model's type")
    pretrained: str = Field(description="folder or hub id of a chat model that looks at pictures")
    revision: str | None = Field(None, description="branch, tag or commit on the hub; None = its default branch")
    dtype: Dtype = Field("float32", description="number format of the weights that are not trained")
    attention: str | None = Field(None, description="how attention is computed, by transformers' names; None = its choice, sdpa")


class ResponseDataConfig(Section):
    """The preferences among responses to train on."""

    name: str = Field("auto", description="reader of the data (`mmalign list responses`); auto = found from the source")
    source: str = Field(description="Parquet or JSONL file, folder, or name of a data set on the hub")
    columns: dict[str, str | None] = Field(
        default_factory=dict, description="the reader's column names where yours differ, {prompt: question}"
    )
    split: str | None = Field(None, description="split of a data set that has several; None = train")
    limit: int | None = Field(None, ge=1, description="use the first so many rows; None = all")
    on_broken: Literal["raise", "skip"] = Field(
        "raise", description="a row with a picture that cannot be read: stop, or have the next row stand in for it"
    )
    max_length: int | None = Field(
        None,
        ge=16,
        description="most tokens of a prompt with its responses: pictures of longer rows are made smaller, and rows that stay longer are "
        "left out, never cut; None = any",
    )
    negatives: Literal["given", "cropped", "diffused", "hidden"] = Field(
        "given",
        description="pictures in place of a row's own, for methods that compare pictures: given = those of the data; cropped = a small "
        "part, enlarged (mDPO); diffused = with noise (CHiP); hidden = 30 % of the pixels black (OPA-DPO)",
    )
    reference_cache: Path | None = Field(
        None,
        description="folder for the reference's log-probabilities, which later epochs and other runs read; None = computed at each step",
    )
    frames: FramesConfig = Field(default_factory=FramesConfig, description="which frames of a film are looked at")
    processor: dict[str, Any] = Field(default_factory=dict, description="arguments of the model's processor, such as {max_pixels: 401408}")


class ResponseRunConfig(TrainingConfig):
    """A training run of a vision-language model: model, adapter, preferences among responses, method, and where the result goes."""

    vlm: VlmConfig = Field(description="the model to align")
    adapter: AdapterConfig = Field(
        default_factory=LoraAdapterConfig, description="what is trained: a LoRA in the language model, or all of it"
    )
    data: ResponseDataConfig = Field(description="the preferences to train on")
    method: Method
    train: Train = Field(default_factory=TrainConfig)
    guard: Guard
    output_dir: OutputDir
    seed: Seed = 0

    @model_validator(mode="after")
    def _there_are_no_text_encoders(self) -> "ResponseRunConfig":
        if getattr(self.adapter, "text_encoders", False):
            raise ValueError("adapter.text_encoders is for image generators; leave it out")
        return self
