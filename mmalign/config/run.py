"""The configuration of a training run, and of an evaluation."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from mmalign.config.plugin import MethodConfig, RewardConfig, named, section_of
from mmalign.config.section import Section
from mmalign.config.sections import (
    AdapterConfig,
    DataConfig,
    Dtype,
    LoraAdapterConfig,
    ModelConfig,
    TrainConfig,
    ValidationConfig,
    adapter_section,
)
from mmalign.plugins import nearest


class RunConfig(Section):
    """A training run: model, adapter, data, method, training, validation, and where the result goes."""

    model: ModelConfig = Field(description="the pipeline to align")
    adapter: AdapterConfig = Field(default_factory=LoraAdapterConfig, description="what is trained: a LoRA, or all weights")
    data: DataConfig = Field(description="the preferences to train on")
    method: Annotated[SerializeAsAny[MethodConfig], BeforeValidator(named(MethodConfig))] = Field(
        description="the objective (`mmalign list methods`) and its own fields"
    )
    train: TrainConfig = Field(default_factory=TrainConfig, description="how to train")
    validation: ValidationConfig = Field(default_factory=ValidationConfig, description="pictures drawn during the run")
    output_dir: Path = Field(description="folder for the result, the checkpoints and this configuration")
    seed: int = Field(0, ge=0, description="seed of everything random in the run")

    @classmethod
    def part(cls, field: str, value: Any) -> type[Section] | None:
        name = value.get("name") if isinstance(value, dict) else value
        if field == "adapter":
            return adapter_section(name)
        if field == "method":
            return section_of(MethodConfig, name)
        return super().part(field, value)


class EvaluateConfig(Section):
    """A comparison of a base with its aligned self on the same prompts and the same noise."""

    pretrained: str = Field(description="the base: diffusers folder, hub id, or shapes/NAME for an embedded one")
    family: str | None = Field(None, description="model family (`mmalign list families`); None = found from the pipeline's class")
    revision: str | None = Field(None, description="branch, tag or commit on the hub; None = its default branch")
    variant: str | None = Field(None, description="variant of the weight files, for instance fp16; None = the plain files")
    vae: str | None = Field(None, description="folder or hub id of a VAE that replaces the pipeline's; None = the pipeline's own")
    dtype: Dtype = Field("float32", description="number format of the weights")
    adapter_path: Path = Field(description="what was aligned: a LoRA folder, or a folder with the full model")
    prompts: str = Field("shapes/final", description="file of prompts (.txt, one a line; .jsonl with the key prompt), or shapes/SPLIT")
    rewards: list[Annotated[SerializeAsAny[RewardConfig], BeforeValidator(named(RewardConfig))]] = Field(
        min_length=1, description="rewards to compare under: names, or {name: ..., its own fields}"
    )
    aligned_to: str = Field(description="the reward, by name or label, that the alignment was for")
    used_for_labels: list[str] = Field(default_factory=list, description="rewards that made the labels; none named = aligned_to alone")
    seeds_per_prompt: int = Field(1, ge=1, description="pictures per prompt and side")
    num_inference_steps: int = Field(25, ge=1, description="denoising steps per picture")
    guidance_scale: float = Field(7.5, ge=0, description="classifier-free guidance, no unit; 1 or less = none")
    batch_size: int = Field(4, ge=1, description="pictures drawn at once")
    output_dir: Path = Field(description="folder for report.json, report.html and the pictures")
    seed: int = Field(0, ge=0, description="seed of the noise that both sides start from")

    @model_validator(mode="after")
    def _rewards_are_told_apart(self) -> "EvaluateConfig":
        titles = [reward.title for reward in self.rewards]
        for title in titles:
            if titles.count(title) > 1:
                raise ValueError(f"rewards has {title!r} twice; give each a label of its own")
        if self.aligned_to not in titles:
            raise ValueError(f"aligned_to is {self.aligned_to!r}, which is none of the rewards; {nearest(self.aligned_to, titles)}")
        return self


class PairsConfig(Section):
    """Preference pairs from a model's own pictures: several per prompt, scored, the best against the worst."""

    model: ModelConfig = Field(description="the pipeline that draws")
    prompts: str = Field("shapes/pairs", description="file of prompts (.txt, one a line; .jsonl with the key prompt), or shapes/SPLIT")
    limit: int | None = Field(None, ge=1, description="use the first so many prompts; None = all")
    rewards: list[Annotated[SerializeAsAny[RewardConfig], BeforeValidator(named(RewardConfig))]] = Field(
        min_length=1, description="rewards that make the label: names, or {name: ..., its own fields}"
    )
    weights: dict[str, float] = Field(
        default_factory=dict, description="weight of each reward in the label, by name or label; 1 unless said"
    )
    never_worse: list[str] = Field(default_factory=list, description="rewards under which a preferred picture must not be the worse one")
    per_prompt: int = Field(4, ge=2, description="pictures drawn per prompt")
    min_gap: float = Field(0.0, ge=0, description="leave out pairs whose label scores differ by this or less, in units of the label")
    num_inference_steps: int = Field(25, ge=1, description="denoising steps per picture")
    guidance_scale: float = Field(7.5, ge=0, description="classifier-free guidance, no unit; 1 or less = none")
    batch_size: int = Field(4, ge=1, description="pictures drawn at once")
    output: Path = Field(Path("pairs.parquet"), description="Parquet file to write, in Pick-a-Pic's columns")
    seed: int = Field(0, ge=0, description="seed of the noise and of the order of the two pictures")

    @model_validator(mode="after")
    def _named_rewards_are_there(self) -> "PairsConfig":
        titles = [reward.title for reward in self.rewards]
        for name in (*self.weights, *self.never_worse):
            if name not in titles:
                raise ValueError(f"weights or never_worse names {name!r}, which is none of the rewards; {nearest(name, titles)}")
        return self
