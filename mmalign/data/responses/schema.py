"""One preference among responses, whatever format it came in."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmalign.errors import UserError
from mmalign.images import ImageSource

Turn = Mapping[str, Any]
"""{"role": "user" | "assistant" | "system", "content": [{"type": "text", "text": ...} | {"type": "image"} | {"type": "video"}, ...]}"""

Span = tuple[int, int]
"""Characters (start, stop) of a phrase."""

PLACES = {"image": re.compile(r"<image(?:-placeholder)?>"), "video": re.compile(r"<video>")}
"""How texts mark the places of pictures and films, by kind."""


@dataclass(frozen=True)
class ResponseExample:
    """A chat with pictures, and K responses to its last turn, the preferred one first; pictures stay as stored until they are opened.

    Attributes:
        turns: the chat up to the user's last turn, with a place for each picture and film.
        images: pictures in the order of their places.
        videos: films in the order of their places: files, folders of frames, or frames.
        responses: K texts.
        phrases: for each response the phrases that methods such as RRPO look at, in order; empty where none are marked.
        negatives: pictures that stand in for ``images`` where a method compares pictures; empty where there are none.
        contrast: the right response under ``negatives``, for methods that ask what other pictures would have called for; None = unknown.
        scores, weight, user_id, origin, preference: as in ``Example``.

    Raises:
        UserError: no response, an empty one, a number of places other than that of pictures, or a number out of its range.
    """

    turns: tuple[Turn, ...]
    responses: tuple[str, ...]
    images: tuple[ImageSource, ...] = ()
    videos: tuple[Path | tuple[ImageSource, ...], ...] = ()
    phrases: tuple[tuple[Span, ...], ...] = ()
    negatives: tuple[ImageSource, ...] = ()
    contrast: str | None = None
    scores: tuple[float, ...] | None = None
    weight: float = 1.0
    user_id: str | None = None
    origin: str = ""
    preference: float = 1.0

    def __post_init__(self) -> None:
        where = self.origin or "an example"
        if not self.responses or not all(text.strip() for text in self.responses):
            raise UserError(f"{where}: a response is missing or empty; give texts, or leave the row out")
        if not self.turns or self.turns[-1]["role"] != "user":
            raise UserError(f"{where}: the prompt does not end with a turn of the user; correct the row or leave it out")
        for kind, given in (("image", self.images), ("video", self.videos)):
            if (places := count_places(self.turns, kind)) != len(given):
                raise UserError(
                    f"{where}: the prompt has {places} places for {kind}s, but there are {len(given)}; correct the row or leave it out"
                )
        self._check_negatives(where)
        for name, given in (("phrases", self.phrases or None), ("scores", self.scores)):
            if given is not None and len(given) != len(self.responses):
                raise UserError(f"{where}: {len(self.responses)} responses but {name} of {len(given)}; give them for each response")
        if not (self.weight > 0 and math.isfinite(self.weight)):
            raise UserError(f"{where}: the weight is {self.weight}; give a number above 0, or leave the row out")
        if not 0.5 <= self.preference <= 1:
            raise UserError(f"{where}: the preference is {self.preference}; give 0.5 to 1, with the preferred response first")

    def _check_negatives(self, where: str) -> None:
        if self.negatives and len(self.negatives) != len(self.images):
            raise UserError(f"{where}: {len(self.negatives)} negatives for {len(self.images)} images; give one for each, or none")
        if self.contrast is not None and not (self.contrast.strip() and self.negatives):
            raise UserError(f"{where}: a response to other pictures is empty, or there are no such pictures; give both, or neither")


def count_places(turns: Sequence[Turn], kind: str) -> int:
    """Places for pictures ("image") or films ("video") in a chat."""
    return sum(part["type"] == kind for turn in turns for part in turn["content"])


def spoken(role: str, text: str) -> Turn:
    """A turn of text in which marks such as ``<image>`` become places.

    >>> [part["type"] for part in spoken("user", "Image1:<image>\\nIn Image1, what is it?")["content"]]
    ['text', 'image', 'text']
    """
    content: list[dict[str, str]] = []
    last = 0
    found = sorted((m.start(), m.end(), kind) for kind, mark in PLACES.items() for m in mark.finditer(text))
    for start, stop, kind in found:
        content += [{"type": "text", "text": text[last:start]}] if text[last:start] else []
        content.append({"type": kind})
        last = stop
    content += [{"type": "text", "text": text[last:]}] if text[last:] or not content else []
    return {"role": role, "content": content}


def with_places(turns: Sequence[Turn], images: int, videos: int = 0) -> tuple[Turn, ...]:
    """A chat whose places were left out, with all of them at the start of the user's first turn; one that has any stays as it is."""
    if count_places(turns, "image") or count_places(turns, "video"):
        return tuple(turns)
    first = next((i for i, turn in enumerate(turns) if turn["role"] == "user"), 0)
    places = [{"type": "image"}] * images + [{"type": "video"}] * videos
    return tuple(
        {**turn, "content": [*places, *turn["content"]]} if i == first else turn  # what is shown comes before what is asked of it
        for i, turn in enumerate(turns)
    )


def messages(value: Any, origin: str, column: str) -> tuple[Turn, ...]:
    """Messages of a chat in the form of transformers, or of ShareGPT ({"from", "value"}), as turns.

    Raises:
        UserError: the cell is no list of messages, or a message has no known role.
    """
    if not isinstance(value, list | tuple) or not all(isinstance(message, Mapping) for message in value):
        raise UserError(f"{origin}: column {column!r} holds no list of messages; correct the row or leave it out")
    return tuple(_message(message, origin, column) for message in value)


ROLES = {"human": "user", "gpt": "assistant", "user": "user", "assistant": "assistant", "system": "system"}


def _message(message: Mapping[str, Any], origin: str, column: str) -> Turn:
    role = ROLES.get(str(message.get("role", message.get("from"))))
    content = message.get("content", message.get("value"))
    if role is None or content is None:
        raise UserError(f"{origin}: a message in column {column!r} has no role or no content; correct the row or leave it out")
    if isinstance(content, str):
        return spoken(role, content)
    parts = [part for given in content for part in _parts(given, role)]
    return {"role": role, "content": parts}


def _parts(part: Mapping[str, Any] | str, role: str) -> list[Any]:
    """A part of a message; Parquet fills the keys that a part does not have with nothing."""
    if isinstance(part, str):
        return list(spoken(role, part)["content"])
    if part.get("type") in PLACES:
        return [{"type": part["type"]}]
    return [{"type": "text", "text": part.get("text") or ""}]


def said(value: Any, origin: str, column: str) -> str:
    """A response: a text, a message, or a list that ends with one.

    Raises:
        UserError: the cell is none of these.
    """
    if isinstance(value, list | tuple) and value:
        value = value[-1]
    if isinstance(value, Mapping):
        turn = _message(value, origin, column)
        value = "".join(part.get("text", "") for part in turn["content"])
    if not isinstance(value, str):
        raise UserError(f"{origin}: column {column!r} holds no response; give a text or a message, or leave the row out")
    return value
