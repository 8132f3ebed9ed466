"""The configuration of ``mmalign data rrpo``: right answers about films beside wrong ones that differ in few phrases."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from mmalign.config.plugin import RewardConfig, named
from mmalign.config.questions import QuestionsConfig
from mmalign.config.responses import VlmConfig
from mmalign.config.section import Section
from mmalign.config.sections import Dtype


class RrpoOptions(Section):
    """How films are spoiled, which answers count as wrong, and how the phrases that differ are found."""

    frames: int = Field(16, ge=1, description="pictures of a film that are looked at, evenly spaced; of fewer all (published: 16)")
    mask_share: tuple[float, float] = Field(
        (0.25, 0.5),
        description="smallest and largest share of a frame's area that is covered, in all frames alike (published: 0.25 to 0.5)",
    )
    shuffle: Literal["none", "local", "global"] = Field(
        "local", description="order of the frames: local = mixed within windows (published as best); global = mixed; none = as it is"
    )
    window: int = Field(4, ge=2, description="frames of a window (the authors' own value is not known)")
    attempts: int = Field(1, ge=1, description="how often a row whose answer is right is spoiled anew and asked again, in all")
    open_answers: Literal["drop", "differs"] = Field(
        "drop",
        description="what an answer of several words is where no judge and no text model says whether it is wrong: drop = left out; "
        "differs = wrong where it has other words than the right one",
    )
    phrases: Literal["auto", "tags", "offsets", "alignment"] = Field(
        "auto",
        description="where the phrases that differ come from: tags = <MASK> in the row's answers; offsets = columns of characters; "
        "alignment = the words of the two answers, side by side; auto = the first of these that there is",
    )
    judge_gap: float = Field(0.0, ge=0, description="a judge must score the right answer by more than this above the model's, in its units")
    max_new_tokens: int = Field(256, ge=1, description="length of an answer, after which it is cut off, tokens")
    batch_size: int = Field(4, ge=1, description="questions answered at once")
    processor: dict[str, int | float | str | bool] = Field(
        default_factory=dict, description="arguments of the model's processor, such as {max_pixels: 100352}"
    )
    seed: int = Field(0, ge=0, description="decides what is covered and how frames are mixed")

    @model_validator(mode="after")
    def _shares_are_shares(self) -> "RrpoOptions":
        low, high = self.mask_share
        if not 0 <= low <= high <= 1:
            raise ValueError(f"mask_share is {low} to {high}; give two numbers from 0 to 1, the smaller one first")
        return self


class AnswererConfig(VlmConfig):
    """The model whose wrong answers are the rejected ones."""

    pretrained: str | None = Field(  # type: ignore[assignment]
        None, description="folder or hub id of a chat model that looks at pictures; None = rows have wrong answers already"
    )


class TextModelConfig(Section):
    """A model of text that writes the right answer with the model's mistakes."""

    pretrained: str | None = Field(
        None, description="folder or hub id of a chat model; None = the model's own wrong answer is the rejected one"
    )
    revision: str | None = Field(None, description="branch, tag or commit on the hub; None = its default branch")
    dtype: Dtype = Field("bfloat16", description="number format of the weights")
    max_new_tokens: int = Field(256, ge=1, description="length of what it writes, tokens")


class RrpoConfig(RrpoOptions):
    """RRPO's preferences: the right answer to a question about a film, a wrong one, and the phrases in which they differ."""

    vlm: AnswererConfig = Field(default_factory=AnswererConfig, description="the model to align, whose wrong answers are the rejected ones")
    data: QuestionsConfig = Field(description="questions about films, or about several pictures, with their right answers")
    given: str = Field("pred", description="column of wrong answers that are there already; rows that have one are not asked again")
    judges: list[Annotated[SerializeAsAny[RewardConfig], BeforeValidator(named(RewardConfig))]] = Field(
        default_factory=list,
        description="rewards that say whether an answer of several words is wrong, such as vlm_rubric: all of them must score it below the "
        "right one, under the film's frames side by side",
    )
    rewriter: TextModelConfig = Field(default_factory=TextModelConfig, description="what writes rejected answers of several words")
    image_format: Literal["png", "jpeg"] = Field("jpeg", description="format of frames that were no files")
    shard_size: int = Field(64, ge=1, description="questions per Parquet file, which is what a kill can lose; whole batches")
    shown: int = Field(12, ge=0, description="rows that the report shows with their frames, of each reason")
    out: Path = Field(Path("rrpo"), description="folder of Parquet files to write; OUT.html and OUT.json beside it are the report")
    overwrite: bool = Field(False, description="start anew where the output, or a part of it, is there already")
