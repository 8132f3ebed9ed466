"""Questions about frames as a model is asked them: as pictures in their places, or as a film."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from mmalign.config.rrpo import RrpoOptions
from mmalign.data.responses.schema import Turn, count_places, spoken, with_places
from mmalign.factory.questions import Asked
from mmalign.vlm.answer import answers
from mmalign.vlm.encode import PromptEncoder
from mmalign.vlm.family import VlmFamily


class Asker:
    """Asks a model about frames, greedily, and gives its words.

    Args:
        family: the model.
        options: how it sees frames.
    """

    def __init__(self, family: VlmFamily, options: RrpoOptions):
        self._family, self._options = family, options
        self._encoder = PromptEncoder(family.processor)
        self._films = getattr(family.processor, "video_processor", None) is not None

    def as_film(self, asked: Asked) -> bool:
        """Whether the model sees a row's frames as a film."""
        return shown_as_film(asked, self._options, self._films)

    def __call__(self, rows: Sequence[Asked], frames: Sequence[Sequence[Image.Image]]) -> list[str]:
        """What the model says of each row's frames; those that are films are asked apart from those that are pictures."""
        said: dict[int, str] = {}
        for film in (False, True):
            places = [place for place, asked in enumerate(rows) if self.as_film(asked) == film]
            if places:
                texts = self._said([rows[place] for place in places], [frames[place] for place in places], film)
                said |= dict(zip(places, texts, strict=True))
        return [said[place] for place in range(len(rows))]

    def _said(self, rows: Sequence[Asked], frames: Sequence[Sequence[Image.Image]], film: bool) -> list[str]:
        chats = [[self._plain(turn) for turn in turns_of(asked, len(few), film)] for asked, few in zip(rows, frames, strict=True)]
        if film:
            films = [[np.stack([np.asarray(frame) for frame in few])] for few in frames]
            told = {**self._options.processor, "do_sample_frames": False}
            prompts = self._encoder.prompts(chats, [()] * len(rows), films, **told)
        else:
            prompts = self._encoder.prompts(chats, frames, **self._options.processor)
        return [answer.text.strip() for answer in answers(self._family, prompts, self._options.max_new_tokens)]

    def _plain(self, turn: Mapping[str, Any]) -> dict[str, Any]:
        parts = [part if part["type"] != "text" else part | {"text": self._encoder.plain(part["text"])} for part in turn["content"]]
        return {"role": turn["role"], "content": parts}


def shown_as_film(asked: Asked, options: RrpoOptions, films: bool) -> bool:
    """Whether a row's frames are a film to the model.

    Args:
        films: whether the model's processor takes films.
    """
    return bool(asked.videos) and films if options.shown_as == "auto" else options.shown_as == "film"


def turns_of(asked: Asked, frames: int, film: bool) -> tuple[Turn, ...]:
    """The chat, as training reads it from the row that is written."""
    return with_places((spoken("user", question_of(asked, frames, film)),), 0 if film else frames, int(film))


def question_of(asked: Asked, frames: int, film: bool) -> str:
    """The question with marks for frames where the data have one for each; else without, so that what is shown comes first."""
    marked = spoken("user", asked.prompt) if asked.prompt else None
    if marked is not None and not film and count_places((marked,), "image") == frames:
        return asked.prompt
    return f"\n{asked.question}" if not film else asked.question
