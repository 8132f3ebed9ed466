"""The configuration of ``mmalign rank``: from scored pictures to preferences."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from mmalign.config.section import Section


class LabelsConfig(Section):
    """How scores become preferences."""

    rewards: list[str] = Field(default_factory=list, description="columns of scores that make the label; none named = all that were scored")
    label: Literal["vote", "weighted_sum", "standardized_sum"] = Field(
        "vote",
        description="vote = share of the comparisons with the prompt's other pictures that are won, over all rewards (Syn-Pic);"
        " weighted_sum = of the scores as they are; standardized_sum = of the scores in standard deviations of all pictures",
    )
    ties: Literal["none", "half"] = Field(
        "none", description="what equal scores are worth in a vote: nothing, as in Syn-Pic, or half a vote"
    )
    weights: dict[str, float] = Field(default_factory=dict, description="weight of each reward in a sum; 1 unless said")
    lower_is_better: list[str] = Field(
        default_factory=list, description="rewards of which less is better, where their table does not say it"
    )
    keep: Literal["ranking", "best_worst", "adjacent", "all_pairs"] = Field(
        "ranking",
        description="of a prompt: ranking = all its pictures in one row; best_worst = the pair furthest apart; adjacent = each picture"
        " with the next one; all_pairs = each with each",
    )
    min_gap: float = Field(
        0.0, ge=0, description="leave out pairs whose labels differ by this or less; of a ranking, the best and the worst"
    )
    min_agreement: float = Field(
        0.0, ge=0, le=1, description="leave out pairs that a smaller share of the rewards orders as the label does; of a ranking, the mean"
    )
    never_worse: list[str] = Field(default_factory=list, description="rewards under which a preferred picture must not be the worse one")
    weigh_by_agreement: bool = Field(False, description="give each row that share as its weight in the loss; false = 1")
    duplicates: float | None = Field(
        0.0,
        ge=0,
        description="pictures of a prompt are one where their 32x32 thumbnails differ by this or less (root mean square, levels of 255);"
        " 0 = only equal pixels, None = all are kept",
    )
    min_pictures: int = Field(2, ge=2, description="leave out prompts with fewer pictures than this that can be used")
    shard_size: int | None = Field(None, ge=1, description="prompts per Parquet file; None = 64, of clips 8")
    seed: int = Field(0, ge=0, description="decides whether the preferred picture of a pair is jpg_0 or jpg_1")

    @model_validator(mode="after")
    def _keys_have_an_effect(self) -> "LabelsConfig":
        if self.label == "vote" and self.weights:
            raise ValueError("weights has no effect on a vote; leave it out, or choose weighted_sum as label")
        if self.label != "vote" and self.ties != "none":
            raise ValueError(f"ties is about votes and has no effect on a {self.label}; leave it out")
        if self.keep == "ranking" and self.never_worse:
            raise ValueError("never_worse is about two pictures and has no effect on a ranking; leave it out, or keep pairs")
        return self


class RankConfig(LabelsConfig):
    """Preferences from scored pictures."""

    pictures: str = Field(description="folder that generate wrote, or any table with a prompt and a picture in each row")
    scores: list[str] = Field(
        default_factory=list, description="tables that score wrote of these pictures; none = the scores are beside them"
    )
    image_column: str | None = Field(None, description="column of the pictures; None = found by its name")
    prompt_column: str | None = Field(None, description="column of the prompts; None = found by its name")
    split: str | None = Field(None, description="split of a data set that has several; None = train")
    out: Path = Field(Path("preferences"), description="folder of Parquet files to write")
    overwrite: bool = Field(False, description="start anew where the output, or a part of it, is there already")
    workers: int | None = Field(None, ge=0, description="threads that open pictures ahead; None = one per CPU core, 16 at most")

    @model_validator(mode="after")
    def _scores_are_somewhere(self) -> "RankConfig":
        if not self.scores and not self.rewards:
            raise ValueError("there are no scores; give the tables that `mmalign score` wrote as scores, or name columns as rewards")
        return self
