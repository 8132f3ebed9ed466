"""Questions about frames as a model is asked them: as pictures in their places, or as a film where the row is one."""

from collections.abc import Sequence

from mmalign.config.rrpo import RrpoOptions
from mmalign.data.responses.schema import Turn, count_places, spoken, with_places
from mmalign.factory.questions import Asked
from mmalign.vlm.answer import answers
from mmalign.vlm.encode import PromptEncoder
from mmalign.vlm.family import VlmFamily
from mmalign.vlm.films import Film
from mmalign.vlm.shown import Shown, prompts, spread


class Asker:
    """Asks a model about frames, greedily, and gives its words. A model that takes no films sees their frames as pictures.

    Args:
        family: the model.
        options: how it is asked.

    Attributes:
        count: most frames that it is shown.
    """

    def __init__(self, family: VlmFamily, options: RrpoOptions):
        self._family, self._options = family, options
        self._encoder = PromptEncoder(family.processor)
        reader = family.films(options.frames)
        self.count, self._as_pictures = reader.count, reader.as_pictures

    def __call__(self, rows: Sequence[Asked], films: Sequence[Film]) -> list[str]:
        """What the model says of each row's frames; those that are films are asked apart from those that are pictures."""
        shown = [self._shown(asked, film) for asked, film in zip(rows, films, strict=True)]
        said: dict[int, str] = {}
        for film in (False, True):
            places = [place for place, one in enumerate(shown) if bool(one.films) == film]
            if places:
                said |= dict(zip(places, self._said([shown[place] for place in places]), strict=True))
        return [said[place] for place in range(len(rows))]

    def _shown(self, asked: Asked, film: Film) -> Shown:
        turns = [self._encoder.plain.turn(turn) for turn in turns_of(asked, len(film.frames))]
        if not asked.videos:
            return Shown(turns, film.frames)
        return Shown(*spread(turns, (), [film])) if self._as_pictures else Shown(turns, (), (film,))

    def _said(self, shown: Sequence[Shown]) -> list[str]:
        prompted = prompts(self._encoder, shown, **self._options.processor)
        return [answer.text.strip() for answer in answers(self._family, prompted, self._options.max_new_tokens)]


def turns_of(asked: Asked, frames: int) -> tuple[Turn, ...]:
    """The chat, as training reads it from the row that is written."""
    films = len(asked.videos)
    return with_places((spoken("user", question_of(asked, frames)),), 0 if films else frames, films)


def question_of(asked: Asked, frames: int) -> str:
    """The question with marks for pictures where the data have one for each; else without, so that what is shown comes first."""
    marked = spoken("user", asked.prompt) if asked.prompt else None
    if marked is not None and not asked.videos and count_places((marked,), "image") == frames:
        return asked.prompt
    return f"\n{asked.question}"
