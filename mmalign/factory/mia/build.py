"""Prompts with several pictures from rows with one."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from mmalign.config.mia import MiaOptions
from mmalign.errors import UserError
from mmalign.factory.mia.plan import Request
from mmalign.factory.mia.pool import Pool
from mmalign.factory.questions import Asked
from mmalign.images import ImageSource, open_image
from mmalign.training.order import derived_seed
from mmalign.vlm.multi_image import LEAD_INS, MultiImage, collage, pic_in_pic, sequence, squared

BOX = re.compile(r"\[\s*\d*\.?\d+(\s*,\s*\d*\.?\d+){3}\s*\]")
"""A place in a picture by its coordinates, which are others once it stands in a larger one."""
CAPTION = "Provide a one-sentence caption for the provided image."
"""What TextCaps' rows ask, with words that were read off the picture behind it; the published prompts end here."""


@dataclass(frozen=True)
class Left:
    """Why nothing was made of a row, and what was said of it; the detail may be empty."""

    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Built:
    """What was made of a row.

    Attributes:
        made: the prompt.
        sources: the pictures of a sequence as they are stored; empty where the prompt's picture was put together.
    """

    made: MultiImage
    sources: tuple[ImageSource, ...] = ()


class Builder:
    """Makes prompts; what is drawn for one depends on the seed, its kind and its row.

    Args:
        rows: questions about one picture.
        pool: lends the other pictures.
        options: how they are made.
        square: pad collages and pictures in pictures to squares.
    """

    def __init__(self, rows: Sequence[Asked], pool: Pool, options: MiaOptions, square: bool):
        self._rows, self._pool, self._options, self._square = rows, pool, options, square

    def __call__(self, request: Request) -> tuple[Asked, Built | Left]:
        """The row, and what was made of it or why nothing was; safe to call from threads."""
        try:
            row = self._rows[request.row]
        except UserError as error:
            return Asked("", "", origin=f"row {request.row}"), Left("the row cannot be read", str(error))
        if reason := self._unfit(row, request):
            return row, Left(reason)
        draw = Random(derived_seed(self._options.seed, "mia", request.kind, request.row))
        others = self._pool.others(request.row, request.count - 1, draw)
        if len(others) < request.count - 1:
            return row, Left("too few other pictures")
        try:
            return row, self._made(request, row, others, draw)
        except UserError as error:
            return row, Left("a picture cannot be opened", str(error))

    def _unfit(self, row: Asked, request: Request) -> str | None:
        if len(row.images) != 1 or row.videos:
            return "not about one picture"
        if not row.question or not row.answer:
            return "no question or no answer"
        if self._options.max_chosen is not None and len(row.answer) >= self._options.max_chosen:
            return f"right answer of {self._options.max_chosen} characters or more"
        if request.kind != "sequence" and BOX.search(f"{row.question} {row.answer}"):
            return "tells places by coordinates"
        return None

    def _made(self, request: Request, row: Asked, others: Sequence[ImageSource], draw: Random) -> Built:
        question = CAPTION if row.question.startswith(CAPTION) else row.question
        if request.kind == "pic_in_pic":
            background, inner = (open_image(source, row.origin) for source in (others[0], row.images[0]))
            return Built(self._fit(pic_in_pic(background, inner, question, draw.choice(LEAD_INS))))
        place = draw.randrange(request.count)
        sources = (*others[:place], row.images[0], *others[place:])
        pictures = [open_image(source, row.origin) for source in sources]
        if request.kind == "sequence":
            return Built(sequence(pictures, place, question), sources)
        return Built(self._fit(collage(pictures, place, question)))

    def _fit(self, made: MultiImage) -> MultiImage:
        return squared(made) if self._square else made
