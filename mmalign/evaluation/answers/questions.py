"""Questions with their right answers, from any source that preference data is read from."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mmalign.data.responses.reader import films, pictures
from mmalign.data.responses.schema import Turn, count_places, messages, spoken, with_places
from mmalign.data.rows import Row, absent
from mmalign.data.sources import open_source
from mmalign.errors import UserError
from mmalign.images import ImageSource
from mmalign.vlm.edits import plain
from mmalign.vlm.films import FilmSource

Match = Literal["exact", "first_word", "contains"]


@dataclass(frozen=True)
class AskedQuestion:
    """A chat with pictures that ends with a question, and what is known of its answer.

    Attributes:
        turns: the chat, with a place for each picture and film.
        answers: what is right, in any of these words; empty where that is not known.
        present, absent: phrases that an answer may say, and phrases that name what is not there; empty where they are not known.
        groups: what it is counted under, value by name.
    """

    turns: tuple[Turn, ...]
    images: tuple[ImageSource, ...]
    videos: tuple[FilmSource, ...]
    answers: tuple[str, ...]
    present: tuple[str, ...]
    absent: tuple[str, ...]
    groups: Mapping[str, str]
    origin: str

    @property
    def text(self) -> str:
        """The last turn, with a mark for each picture."""
        marks = {"image": "<image>", "video": "<video>"}
        return "".join(marks.get(part["type"]) or part["text"] for part in self.turns[-1]["content"])

    def is_right(self, said: str, match: Match = "exact") -> bool:
        """Whether an answer is one of the right ones, whatever its case, blanks and final stop."""
        given, wanted = plain(said), [plain(answer) for answer in self.answers]
        if match == "first_word":
            return bool(given) and re.split(r"[\s,.;:!?()]+", given.lstrip("("))[0] in wanted
        if match == "contains":
            return any(phrase(answer).search(given) for answer in wanted)
        return given in wanted

    def claims(self, said: str) -> tuple[int, int]:
        """How many of the known phrases an answer says, and how many of those name what is not there."""
        true, false = (sum(len(phrase(text).findall(said)) for text in texts) for texts in (self.present, self.absent))
        return true + false, false


@dataclass(frozen=True)
class Columns:
    """Names of the columns; all but question and answer may be missing.

    Attributes:
        answer: a text, or a list of texts that are all right.
        present, absent: lists of phrases, as in AMBER's annotations.
        by: columns whose values get a row each in the report, beside the type and the number of pictures.
    """

    question: str = "question"
    answer: str = "answer"
    images: str = "images"
    image: str = "image"
    videos: str = "videos"
    type: str = "type"
    present: str = "present"
    absent: str = "absent"
    by: Sequence[str] = ("set",)

    def read(self, row: Row) -> AskedQuestion:
        """A row as a question.

        Raises:
            UserError: there is no question, neither answer nor phrases, or a number of places other than that of the pictures.
        """
        images, videos = pictures(row, self.images, self.image), films(row, self.videos)
        turns = with_places(self._turns(row), len(images), len(videos))
        if count_places(turns, "image") != len(images) or count_places(turns, "video") != len(videos):
            raise UserError(f"{row.origin}: the question has other places for pictures than there are pictures; correct the row")
        answers, true, false = (texts(row, column) for column in (self.answer, self.present, self.absent))
        if not answers and not false:
            raise UserError(
                f"{row.origin} has neither a right answer ({self.answer!r}) nor phrases of what is not there ({self.absent!r}); give one"
            )
        pictured = {"pictures": str(len(images) or len(videos))}
        named = {column: row.name(column) for column in (self.type, *self.by)}
        groups = {name: value for name, value in (named | pictured).items() if value is not None}
        return AskedQuestion(turns, images, videos, answers, true, false, groups, row.origin)

    def _turns(self, row: Row) -> tuple[Turn, ...]:
        value = row.cells.get(self.question)
        chat = isinstance(value, list | tuple)
        return messages(value, row.origin, self.question) if chat else (spoken("user", row.text(self.question)),)


def load_questions(source: Any, columns: Columns = Columns(), split: str | None = None, limit: int | None = None) -> list[AskedQuestion]:
    """The questions of a source, in its order; pictures stay as stored until they are opened.

    Args:
        source: a file, a folder, a name on the hub, or rows in memory.
        limit: the first so many; None = all.

    Raises:
        UserError: there is nothing, a column is missing, or a row is no question.
    """
    table = open_source(source, split)
    if not len(table):
        raise UserError(f"{table.name} is empty; give at least one question, and some hundreds for a narrow interval")
    if columns.question not in table.columns:
        known = ", ".join(map(repr, table.columns))
        raise UserError(f"{table.name} has no column {columns.question!r}; it has {known}; name its own with columns {{question: NAME}}")
    return [columns.read(table.row(index)) for index in range(min(len(table), limit or len(table)))]


def texts(row: Row, column: str) -> tuple[str, ...]:
    """The texts in a cell: a list, or one alone; none where it is empty."""
    value = row.cells.get(column)
    if isinstance(value, list | tuple):
        return tuple(str(text) for text in value)
    return () if absent(value) else (str(value),)


def phrase(text: str) -> re.Pattern[str]:
    """Finds a phrase as whole words, whatever its case and blanks."""
    words = r"\s+".join(map(re.escape, text.split()))
    return re.compile(rf"(?<!\w){words}(?!\w)", re.IGNORECASE)
