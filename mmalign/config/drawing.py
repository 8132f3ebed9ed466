"""The configuration of what draws pictures and scores them: an evaluation, and the making of pairs."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from mmalign.config.frames import JUDGED, JudgedFrames
from mmalign.config.scoring import RewardsConfig
from mmalign.config.sections import Dtype, ModelConfig


class DrawingConfig(RewardsConfig):
    """Pictures, or clips, drawn by a model and scored by rewards."""

    num_inference_steps: int | None = Field(None, ge=1, description="denoising steps per picture; None = the model's own default")
    guidance_scale: float | None = Field(
        None, ge=0, description="classifier-free guidance, no unit; 1 or less = none; None = the model's own default"
    )
    height: int | None = Field(None, ge=8, description="of the pictures, pixels; None = the pipeline's default")
    width: int | None = Field(None, ge=8, description="of the pictures, pixels; None = the pipeline's default")
    frames: int | None = Field(None, ge=1, description="films only: frames of a clip; None = the pipeline's default")
    fps: float | None = Field(None, gt=0, le=240, description="films only: frames a second that clips are shown with; None = 16")
    judged_frames: JudgedFrames = JUDGED
    batch_size: int = Field(4, ge=1, description="pictures drawn at once")
    seed: int = Field(0, ge=0, description="seed of the noise and of all other draws")

    @property
    def size(self) -> dict[str, Any]:
        """How large and how long what is drawn is, as ``DiffusionFamily.sized`` takes it."""
        return {name: getattr(self, name) for name in ("height", "width", "frames", "fps")}


class EvaluateConfig(DrawingConfig):
    """A comparison of a base with its aligned self on the same prompts and the same noise."""

    pretrained: str = Field(description="the base: diffusers folder, hub id, or shapes/NAME for an embedded one")
    family: str | None = Field(None, description="model family (`mmalign list families`); None = found from the pipeline's class")
    revision: str | None = Field(None, description="branch, tag or commit on the hub; None = its default branch")
    variant: str | None = Field(None, description="variant of the weight files, for instance fp16; None = the plain files")
    vae: str | None = Field(None, description="folder or hub id of a VAE that replaces the pipeline's; None = the pipeline's own")
    dtype: Dtype = Field("float32", description="number format of the weights")
    adapter_path: Path = Field(description="what was aligned: a LoRA folder, or a folder with the full model")
    prompts: str = Field(
        "shapes/final", description="prompts: a file (.txt, one a line; .jsonl, .csv), a set (`mmalign list prompts`), or shapes/SPLIT"
    )
    aligned_to: str = Field(description="the reward, by name or label, that the alignment was for")
    used_for_labels: list[str] = Field(default_factory=list, description="rewards that made the labels; none named = aligned_to alone")
    seeds_per_prompt: int = Field(1, ge=1, description="pictures per prompt and side")
    output_dir: Path = Field(description="folder for report.json, report.html and the pictures")

    @model_validator(mode="after")
    def _aligned_to_is_a_reward(self) -> "EvaluateConfig":
        self.require_rewards("aligned_to", [self.aligned_to])
        self.require_rewards("used_for_labels", self.used_for_labels)
        return self


class PairsConfig(DrawingConfig):
    """Preference pairs from a model's own pictures: several per prompt, scored, the best against the worst."""

    model: ModelConfig = Field(description="the pipeline that draws")
    prompts: str = Field(
        "shapes/pairs", description="prompts: a file (.txt, one a line; .jsonl, .csv), a set (`mmalign list prompts`), or shapes/SPLIT"
    )
    limit: int | None = Field(None, ge=1, description="use the first so many prompts; None = all")
    weights: dict[str, float] = Field(
        default_factory=dict, description="weight of each reward in the label, by name or label; 1 unless said"
    )
    never_worse: list[str] = Field(default_factory=list, description="rewards under which a preferred picture must not be the worse one")
    per_prompt: int = Field(4, ge=2, description="pictures drawn per prompt")
    keep: Literal["pair", "ranking"] = Field("pair", description="of a prompt's pictures: pair = the best and the worst; ranking = all")
    min_gap: float = Field(0.0, ge=0, description="leave out pairs whose label scores differ by this or less, in units of the label")
    output: Path = Field(
        Path("pairs.parquet"), description="Parquet file to write, pairs in Pick-a-Pic's columns, rankings in those of the reader ranked"
    )

    overwrite: bool = Field(False, description="draw anew where the output is there already")

    @model_validator(mode="after")
    def _the_output_is_parquet(self) -> "PairsConfig":
        if self.output.suffix != ".parquet":
            raise ValueError(f"output is {str(self.output)!r}, but a Parquet file is written; let its name end in .parquet")
        return self

    @model_validator(mode="after")
    def _named_rewards_are_there(self) -> "PairsConfig":
        self.require_rewards("weights", self.weights)
        self.require_rewards("never_worse", self.never_worse)
        if self.keep == "ranking" and self.never_worse:
            raise ValueError("never_worse is about two pictures and has no effect on a ranking; leave it out, or keep pairs")
        return self
