"""Prompt, chosen and rejected response with images: TRL's columns, as texts or as messages."""

from dataclasses import dataclass

from mmalign.data.responses.reader import ResponseReader, films, pictures
from mmalign.data.responses.schema import ResponseExample, Turn, messages, said, spoken, with_places
from mmalign.data.rows import Row, absent
from mmalign.errors import UserError


@dataclass(frozen=True)
class Trl(ResponseReader):
    """Without a prompt, chosen and rejected are whole chats that differ in their last message. ``prompt="question"`` reads RLAIF-V.

    ``contrast`` is the right answer under ``rejected_images``, where a method asks for it.
    """

    prompt: str | None = "prompt"
    chosen: str = "chosen"
    rejected: str = "rejected"
    images: str = "images"
    image: str = "image"
    negatives: str = "rejected_images"
    contrast: str = "contrast"
    videos: str = "videos"
    weight: str = "weight"

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.prompt, self.chosen, self.rejected)))

    def example(self, row: Row) -> ResponseExample:
        images, videos = pictures(row, self.images, self.image), films(row, self.videos)
        responses = tuple(said(row.cells.get(column), row.origin, column) for column in (self.chosen, self.rejected))
        return ResponseExample(
            turns=with_places(self._turns(row), len(images), len(videos)),
            responses=responses,
            images=images,
            videos=videos,
            negatives=pictures(row, self.negatives),
            contrast=self._contrast(row),
            weight=row.weight(self.weight),
            origin=row.origin,
        )

    def _contrast(self, row: Row) -> str | None:
        value = row.cells.get(self.contrast)
        return None if absent(value) or value in ("", [], ()) else said(value, row.origin, self.contrast)

    def _turns(self, row: Row) -> tuple[Turn, ...]:
        if self.prompt is None:
            turns = messages(row.cells.get(self.chosen), row.origin, self.chosen)
            if len(turns) < 2:
                raise UserError(f"{row.origin}: column {self.chosen!r} is no chat with a prompt and a response; name a column of prompts")
            return turns[:-1]
        value = row.cells.get(self.prompt)
        return messages(value, row.origin, self.prompt) if isinstance(value, list | tuple) else (spoken("user", row.text(self.prompt)),)


PLUGIN = Trl
