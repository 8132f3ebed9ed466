"""The configuration of an evaluation of scorers: against people, and as HPSv2's benchmark of generators."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from mmalign.config.scoring import RewardsConfig

Dataset = Literal["hpdv2_test", "image_reward_test", "pickapic_v1_test_unique", "pickapic_v2_test_unique", "hpdv3_test"]


class EvaluateRewardConfig(RewardsConfig):
    """Scorers against people's judgments, and pictures of a generator under HPSv2's benchmark."""

    source: str | None = Field(None, description="judgments: HPDv2's or ImageReward's test.json, Parquet files, or any preference data")
    reader: str = Field("auto", description="reader of the judgments (`mmalign list datasets`); auto = found from the source")
    columns: dict[str, str | bool] = Field(
        default_factory=dict, description="the reader's fields where yours differ, {image_folder: pictures, rank: ranks}"
    )
    split: str | None = Field(None, description="split of a source that has several, such as test_unique; None = train")
    limit: int | None = Field(None, ge=1, description="use the first so many rankings; None = all")
    dataset: Dataset | None = Field(
        None, description="the published test set that the source is; None = told by its counts, which Pick-a-Pic's and HPDv3's cannot be"
    )
    by: list[str] | None = Field(
        None, description="columns whose values get a row each; None = classification, model_0 and model_1, as far as they are there"
    )
    validation_source: str | None = Field(
        None, description="other judgments, to tune the threshold and the temperature on; None = source, where validation_split is given"
    )
    validation_split: str | None = Field(None, description="split of the validation source, such as validation_unique; None = train")
    thresholds: Literal["every", "published"] = Field(
        "every",
        description="where the threshold for ties is looked for: every difference in the validation source, or PickScore's eleven margins"
        " of probability, which are meant for scores that are logits",
    )
    bins: int = Field(10, ge=1, description="bins of confidence from 1/2 to 1 of the calibration")
    benchmark_images: Path | None = Field(None, description="folder of pictures with anime/00000.jpg and so on, for HPSv2's benchmark")
    benchmark_prompts: Path | None = Field(None, description="HPDv2's folder benchmark, with anime.json and so on")
    benchmark_scale: float | None = Field(None, gt=0, description="benchmark scores are shown times this; None = 100 for hpsv2, else 1")
    on_broken: Literal["raise", "skip"] = Field("raise", description="a picture that is missing or broken: stop, or leave its row out")
    confidence: float = Field(0.95, gt=0, lt=1, description="probability that an interval covers the accuracy")
    resamples: int = Field(10_000, ge=100, description="bootstrap samples of the prompts behind an interval")
    seed: int = Field(0, ge=0, description="seed of the bootstrap")
    output_dir: Path = Field(description="folder for report.json, report.html and the scores, which a later run finds there")

    @model_validator(mode="after")
    def _there_is_something_to_do(self) -> "EvaluateRewardConfig":
        if self.source is None and self.benchmark_images is None:
            raise ValueError("there is nothing to evaluate on; give source, or benchmark_images with benchmark_prompts")
        return self

    @model_validator(mode="after")
    def _keys_belong_together(self) -> "EvaluateRewardConfig":
        if (self.benchmark_images is None) != (self.benchmark_prompts is None):
            raise ValueError("benchmark_images and benchmark_prompts belong together; give both, or neither")
        validation = self.validation_source or self.validation_split
        if self.source is None and validation:
            raise ValueError("there is a validation source but no source; give source too")
        if validation and (self.validation_source or self.source, self.validation_split) == (self.source, self.split):
            raise ValueError("the validation source is the source itself; tune on other judgments, or leave validation_source out")
        return self
