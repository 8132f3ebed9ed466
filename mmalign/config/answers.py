"""The configuration of an evaluation of vision-language models."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from mmalign.config.frames import FramesConfig
from mmalign.config.responses import VlmConfig
from mmalign.config.section import Section
from mmalign.config.sections import Dtype


class JudgeConfig(Section):
    """A vision-language model that rates answers."""

    pretrained: str | None = Field(None, description="folder or hub id of a chat model that looks at pictures; None = no ratings")
    revision: str | None = Field(None, description="branch, tag or commit on the hub; None = its default branch")
    dtype: Dtype = Field("bfloat16", description="number format of the weights")
    max_new_tokens: int = Field(512, ge=1, description="tokens of its answer, after which it is cut off")
    batch_size: int = Field(8, ge=1, description="answers rated at once")


class EvaluateAnswersConfig(Section):
    """A vision-language model against its aligned self, on the same questions."""

    vlm: VlmConfig = Field(description="the base")
    adapter_path: Path = Field(description="what was aligned: a folder with a PEFT adapter, or with the full model")
    questions: str = Field(
        "shapes/final", description="Parquet or JSONL file with pictures, questions and right answers, name on the hub, or shapes/SPLIT"
    )
    columns: dict[str, str | list[str]] = Field(
        default_factory=dict, description="column names where yours differ, {question: prompt, answer: label, by: [topic]}"
    )
    split: str | None = Field(None, description="split of questions that have several; None = train")
    limit: int | None = Field(None, ge=1, description="use the first so many questions; None = all")
    match: Literal["exact", "first_word", "contains"] = Field(
        "exact",
        description="when an answer is right: it is one of the right ones (case and final stop aside), its first word is, or it holds one",
    )
    processor: dict[str, Any] = Field(default_factory=dict, description="arguments of the model's processor, such as {max_pixels: 401408}")
    frames: FramesConfig = Field(default_factory=FramesConfig, description="which frames of films are looked at")
    max_new_tokens: int = Field(64, ge=1, description="tokens of an answer, after which it is cut off")
    batch_size: int = Field(16, ge=1, description="questions answered at once")
    judge: JudgeConfig = Field(default_factory=JudgeConfig, description="a model that rates the answers of both sides")
    aligned_to: Literal["right", "grounded", "judge"] = Field(
        "right", description="what the alignment was for: right answers, saying nothing that is not there, or the judge's ratings"
    )
    confidence: float = Field(0.95, gt=0, lt=1, description="probability that an interval covers what it is about")
    resamples: int = Field(10_000, ge=100, description="bootstrap samples of the questions behind an interval")
    seed: int = Field(0, ge=0, description="seed of the bootstrap, and of what shapes/SPLIT asks")
    output_dir: Path = Field(description="folder for report.json, report.html and answers.jsonl")

    @model_validator(mode="after")
    def _the_judge_is_there(self) -> "EvaluateAnswersConfig":
        if self.aligned_to == "judge" and self.judge.pretrained is None:
            raise ValueError("aligned_to is the judge, but there is none; give judge.pretrained")
        return self
