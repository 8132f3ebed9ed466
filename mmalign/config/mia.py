"""The configuration of ``mmalign data mia``: MIA-DPO's preferences from questions about one picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from mmalign.config.questions import QuestionsConfig
from mmalign.config.responses import VlmConfig
from mmalign.config.section import Section

Kind = Literal["sequence", "collage", "pic_in_pic"]
COUNTS: Mapping[Kind, tuple[int, ...]] = {"sequence": (2, 3, 4, 5), "collage": (2, 3, 4, 6, 9), "pic_in_pic": (2,)}
"""How many pictures a prompt may have; of a sequence any number from two on."""

PUBLISHED_SHARES: dict[Kind, dict[int, float]] = {
    "sequence": {2: 34300, 3: 10050, 4: 9950, 5: 8161},
    "collage": {2: 48000, 3: 14000, 4: 14000, 6: 7000, 9: 7000},
    "pic_in_pic": {2: 48975},
}
"""Rows by number of pictures: the sums over its sources of the published notebook, and of the collages those of the file that its
script of answers opens."""
PUBLISHED_THRESHOLDS: dict[Kind, dict[int, float]] = {
    "sequence": {2: 0.8, 3: 0.7, 4: 0.6, 5: 0.6},
    "collage": {2: 0.7, 3: 0.6, 4: 0.5, 6: 0.4, 9: 0.3},
    "pic_in_pic": {2: 0.8},
}


class MiaOptions(Section):
    """How prompts with several pictures are made of rows with one, and which of the model's answers are kept as rejected ones."""

    kinds: dict[Kind, dict[int, float]] = Field(
        default_factory=lambda: dict(PUBLISHED_SHARES),
        description="what every row is made into, and for each kind the shares of rows by number of pictures: sequence = pictures one "
        "after another, collage = in a grid, pic_in_pic = in the center of another; the default is as published",
    )
    thresholds: dict[Kind, dict[int, float]] = Field(
        default_factory=lambda: dict(PUBLISHED_THRESHOLDS),
        description="largest share of the attention to pictures that the one asked about may get where an answer is kept, by kind and "
        "number of pictures, 0 to 1; the default is as published",
    )
    min_perplexity: float | None = Field(
        1.1,
        ge=1,
        description="leave out answers whose perplexity is this or less: the model is sure of them; None = keep them (published: 1.1)",
    )
    max_length_ratio: float | None = Field(
        4.0,
        ge=1,
        description="leave out answers where one text has more than so many times the words of the other; None = any (the authors' own "
        "value is not known)",
    )
    min_edit_distance: float = Field(
        0.05,
        ge=0,
        le=1,
        description="leave out answers that differ from the right one by a smaller share of the longer text's characters; equal ones are "
        "left out always (the authors' own value is not known)",
    )
    max_chosen: int | None = Field(
        512, ge=1, description="leave out rows whose right answer has this many characters or more; None = any (published: 512)"
    )
    noise: Literal["none", "released"] = Field(
        "none",
        description="what the pictures look like to the model as it answers: none = as they are; released = with the noise that the "
        "authors' scripts put on collages and pictures in pictures. Rows have the clean ones",
    )
    square: bool | None = Field(
        None,
        description="pad collages and pictures in pictures to squares, as LLaVA does; None = where the model's processor would cut "
        "their sides off",
    )
    layer: int | None = Field(None, description="layer whose attention is measured, from 0 on; None = the middle one (LLaVA-1.5: 16 of 32)")
    max_new_tokens: int = Field(512, ge=1, description="length of an answer, after which it is cut off, tokens")
    batch_size: int = Field(8, ge=1, description="prompts answered at once")
    processor: dict[str, int | float | str | bool] = Field(
        default_factory=dict, description="arguments of the model's processor, such as {max_pixels: 401408}"
    )
    seed: int = Field(0, ge=0, description="decides which rows have how many pictures, which others stand beside them, and where")

    @model_validator(mode="after")
    def _there_is_a_layout(self) -> "MiaOptions":
        if not self.kinds:
            raise ValueError("kinds is empty; name at least one of sequence, collage and pic_in_pic")
        for kind, shares in self.kinds.items():
            for count, share in shares.items():
                if count < 2 or (count not in COUNTS[kind] and kind != "sequence"):
                    raise ValueError(f"kinds.{kind} has {count} pictures; there is a layout for {', '.join(map(str, COUNTS[kind]))}")
                if not share > 0:
                    raise ValueError(f"kinds.{kind} has the share {share} for {count} pictures; give more than 0, or leave the number out")
                if count not in self.thresholds.get(kind, {}):
                    raise ValueError(f"thresholds.{kind} has none for {count} pictures; give one between 0 and 1")
        return self


class MiaConfig(MiaOptions):
    """MIA-DPO's preferences: prompts with several pictures, the right answer, and the model's own where it looked elsewhere."""

    vlm: VlmConfig = Field(description="the model whose answers are the rejected ones: the one to align")
    data: QuestionsConfig = Field(description="questions about one picture with their right answers")
    pool: str = Field(
        "all",
        description="which rows lend each other pictures: all; folder = those whose pictures lie in one top folder, as LLaVA-665k's sets "
        "do; or the name of a column whose value they share",
    )
    image_format: Literal["png", "jpeg"] = Field("png", description="format of collages and pictures in pictures; png loses nothing")
    shard_size: int = Field(64, ge=1, description="prompts per Parquet file, which is what a kill can lose; whole batches")
    shown: int = Field(12, ge=0, description="answers that the report shows with their pictures, of each reason")
    export: Path | None = Field(
        None, description="folder for the kept rows in the published form too: mia_dpo.json and images; None = none"
    )
    out: Path = Field(Path("mia"), description="folder of Parquet files to write; OUT.html and OUT.json beside it are the report")
    overwrite: bool = Field(False, description="start anew where the output, or a part of it, is there already")
