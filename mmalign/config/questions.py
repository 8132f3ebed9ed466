"""The configuration of questions about pictures or films with their right answers."""

from pydantic import Field

from mmalign.config.section import Section


class QuestionsConfig(Section):
    """Questions with right answers, as rows of any source."""

    name: str = Field(
        "auto",
        description="reader of the rows: questions = columns question and answer with image, images or video; conversations = LLaVA's; "
        "shapes_one and shapes_clips = those of shapes/SPLIT, limit of them (320); or a reader of responses, whose "
        "preferred response is the answer; auto = found from the columns",
    )
    source: str = Field(description="Parquet or JSONL file, folder, or name of a data set on the hub")
    columns: dict[str, str | None] = Field(
        default_factory=dict, description="the reader's column names where yours differ, {question: query}"
    )
    split: str | None = Field(None, description="split of a data set that has several; None = train")
    limit: int | None = Field(None, ge=1, description="use the first so many rows; None = all")
