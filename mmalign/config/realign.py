"""The configuration of ``mmalign data realign``: preferences among responses with a like picture beside each row's own."""

from pathlib import Path

from pydantic import Field

from mmalign.config.responses import VlmConfig
from mmalign.config.section import Section


class PreferencesConfig(Section):
    """Preferences among responses about one picture."""

    name: str = Field("auto", description="reader of the rows (`mmalign list responses`); auto = found from the columns")
    source: str = Field(description="Parquet or JSONL file, folder, or name of a data set on the hub")
    columns: dict[str, str | None] = Field(
        default_factory=dict, description="the reader's column names where yours differ, {prompt: question}"
    )
    split: str | None = Field(None, description="split of a data set that has several; None = train")
    limit: int | None = Field(None, ge=1, description="use the first so many rows; None = all")


class RealignOptions(Section):
    """Which picture stands in for a row's own."""

    max_similarity: float = Field(
        0.99,
        gt=-1,
        le=1,
        description="pictures whose features have a larger cosine with the row's own count as the same (our choice, none is published)",
    )
    duplicates: float = Field(
        8.0,
        ge=0,
        description="pictures count as the same whose 32x32 thumbnails differ by this or less (root mean square, levels of 255); 0 = equal "
        "pixels only (our choice, none is published)",
    )
    min_similarity: float = Field(-1.0, ge=-1, le=1, description="leave out rows whose nearest picture has a smaller cosine than this")
    batch_size: int = Field(8, ge=1, description="pictures that the vision tower sees at once")
    processor: dict[str, int | float | str | bool] = Field(
        default_factory=dict, description="arguments of the model's processor, such as {max_pixels: 401408}"
    )


class RealignConfig(RealignOptions):
    """Re-Align's pictures to compare with: for each row the nearest other picture by the model's own vision features."""

    vlm: VlmConfig = Field(description="the model whose vision features tell what is near: the one to align")
    data: PreferencesConfig = Field(description="preferences among responses about one picture")
    pool: str | None = Field(
        None, description="folder of pictures, or table with a column image, that are searched; None = the pictures of the rows themselves"
    )
    features: Path | None = Field(None, description="folder that keeps features for other runs, by model and pixels; None = OUT.features")
    shard_size: int = Field(64, ge=1, description="rows per Parquet file, and pictures between two savings of features")
    shown: int = Field(24, ge=0, description="rows that the report shows with both pictures")
    out: Path = Field(Path("realign"), description="folder of Parquet files to write; OUT.html and OUT.json beside it are the report")
    overwrite: bool = Field(False, description="start anew where the output, or a part of it, is there already")
