"""The configuration of rewards: those of a run that scores, and scoring itself."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from mmalign.config.frames import JUDGED, JudgedFrames
from mmalign.config.plugin import RewardConfig, named
from mmalign.config.section import Section
from mmalign.config.sections import Dtype
from mmalign.plugins import nearest

OUTPUTS = (".parquet", ".csv", ".jsonl")
COLUMNS = ("index", "image", "prompt", "error")
SHARED = ("device", "dtype", "batch_size")


class RewardsConfig(Section):
    """Rewards, each under a title of its own."""

    rewards: list[Annotated[SerializeAsAny[RewardConfig], BeforeValidator(named(RewardConfig))]] = Field(
        min_length=1, description="rewards to score with: names, or {name: ..., its own fields} (`mmalign list rewards NAME`)"
    )

    @model_validator(mode="after")
    def _rewards_are_told_apart(self) -> "RewardsConfig":
        titles = [reward.title for reward in self.rewards]
        for title in titles:
            if titles.count(title) > 1:
                raise ValueError(f"rewards has {title!r} twice; give each a label of its own, as in {{name: {title}, label: LABEL}}")
        return self

    def require_rewards(self, key: str, names: Iterable[str]) -> None:
        """Raises ValueError unless every name is the title of one of the rewards."""
        titles = [reward.title for reward in self.rewards]
        for name in names:
            if name not in titles:
                raise ValueError(f"{key} names {name!r}, which is none of the rewards; {nearest(name, titles)}")


class ScorersConfig(RewardsConfig):
    """Rewards, and how they score many images."""

    judged_frames: JudgedFrames = JUDGED
    chunk_size: int = Field(512, ge=1, description="images scored between two savings")
    workers: int | None = Field(None, ge=0, description="threads that open images ahead; None = one per CPU core, 16 at most")
    device: str | None = Field(None, description="where rewards run that do not say it themselves, such as cuda:1; None = an accelerator")
    dtype: Dtype | None = Field(None, description="number format of rewards that do not say it themselves; None = their default")
    batch_size: int | None = Field(None, ge=1, description="images scored at once by rewards that do not say it; None = their own")

    @model_validator(mode="after")
    def _shared_keys_have_an_effect(self) -> "ScorersConfig":
        for key in SHARED:
            if getattr(self, key) is not None and not any(_takes(reward, key) for reward in self.rewards):
                raise ValueError(f"none of the rewards has a {key}; leave {key} out")
        return self

    def filled_rewards(self) -> list[RewardConfig]:
        """The rewards, with the shared device, dtype and batch size where they say nothing themselves."""
        shared = {key: value for key in SHARED if (value := getattr(self, key)) is not None}
        return [_filled(reward, shared) for reward in self.rewards]


class ScoreConfig(ScorersConfig):
    """Scores of images under prompts, by one reward or several."""

    images: list[str] = Field(
        min_length=1,
        description="files, folders, globs in quotes, webdataset .tar shards, .parquet, .jsonl, .json or .csv tables, data sets on the hub",
    )
    prompt: str | None = Field(None, description="one prompt for all images; None = each image's own")
    prompts_file: str | None = Field(None, description="prompts in the images' order: .txt, one a line; .jsonl with the key prompt")
    captions: Literal["auto", "sidecar", "metadata", "none"] = Field(
        "auto",
        description="where image files have their prompts: sidecar = NAME.txt beside NAME.png, metadata = metadata.jsonl or metadata.csv"
        " of the folder; auto = looked for in this order",
    )
    image_column: str | None = Field(None, description="column of the images in a table, or extension in a shard; None = found by its name")
    prompt_column: str | None = Field(None, description="column of the prompts in a table, metadata or a shard; None = found by its name")
    split: str | None = Field(None, description="split of a data set that has several; None = train")
    limit: int | None = Field(None, ge=1, description="score the first so many images; None = all")
    out: Path | None = Field(None, description="table to write: .parquet, .csv or .jsonl; None = on the screen only")
    overwrite: bool = Field(False, description="start anew where the output, or a part of it, is there already")

    @model_validator(mode="after")
    def _every_image_is_a_place(self) -> "ScoreConfig":
        if not all(word.strip() for word in self.images):
            # which would be the folder one is in, as of a variable of the shell that is not set
            raise ValueError("one of the images is an empty word; give a path, or leave it out")
        return self

    @model_validator(mode="after")
    def _one_place_for_prompts(self) -> "ScoreConfig":
        given = [key for key in ("prompt", "prompts_file", "prompt_column") if getattr(self, key) is not None]
        if self.captions == "sidecar" or (self.captions == "metadata" and self.prompt_column is None):
            given.append("captions")
        if len(given) > 1:
            raise ValueError(f"prompts come from {given[0]} or from {given[1]}, not from both; leave one out")
        return self

    @model_validator(mode="after")
    def _the_table_can_be_written(self) -> "ScoreConfig":
        if self.out is not None and self.out.suffix.lower() not in OUTPUTS:
            raise ValueError(f"out is {str(self.out)!r}; its name should end in {', '.join(OUTPUTS[:-1])} or {OUTPUTS[-1]}")
        for reward in self.rewards:
            if reward.title in COLUMNS:
                raise ValueError(f"{reward.title!r} is a column of every table of scores; give that reward another label")
        return self


def nested(reward: RewardConfig) -> dict[str, list[RewardConfig]]:
    """The rewards that a reward is made of, by the field that holds one or several of them."""
    lists = {field: value if isinstance(value, list) else [value] for field, value in reward.fields().items()}
    return {field: value for field, value in lists.items() if value and all(isinstance(each, RewardConfig) for each in value)}


def _takes(reward: RewardConfig, key: str) -> bool:
    return key in type(reward).model_fields or any(_takes(member, key) for members in nested(reward).values() for member in members)


def _filled(reward: RewardConfig, shared: dict[str, Any]) -> RewardConfig:
    own = type(reward).model_fields.keys() - reward.model_fields_set
    members = {field: [_filled(member, shared) for member in members] for field, members in nested(reward).items()}
    put = {field: filled if isinstance(getattr(reward, field), list) else filled[0] for field, filled in members.items()}
    return reward.model_copy(update={**{key: value for key, value in shared.items() if key in own}, **put})
