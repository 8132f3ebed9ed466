"""What a model is shown beside a chat: pictures, and films as the model takes them, or as several pictures where it takes none."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from mmalign.vlm.encode import EncodedPrompts, PromptEncoder, Turn
from mmalign.vlm.films import Film, FilmSource, read_film


@dataclass(frozen=True)
class Shown:
    """A chat with all that is seen in it.

    Attributes:
        turns: the chat, with a place for each picture and film.
        images: pictures in the order of their places.
        films: films in the order of theirs.
    """

    turns: Sequence[Turn]
    images: tuple[Image.Image, ...]
    films: tuple[Film, ...] = ()

    @property
    def given(self) -> dict[str, Any]:
        """Films as arguments of a ``PromptEncoder``: their frames are chosen already."""
        if not self.films:
            return {}
        told = [film.metadata for film in self.films]
        return {"videos": [list(film.frames) for film in self.films], "video_metadata": told, "do_sample_frames": False}

    def changed(self, change: Callable[[Image.Image], Image.Image]) -> "Shown":
        """The same chat with all pictures and frames made into others."""
        films = tuple(replace(film, frames=tuple(map(change, film.frames))) for film in self.films)
        return replace(self, images=tuple(map(change, self.images)), films=films)

    @property
    def smallest(self) -> int:
        """Shortest side of all pictures and frames, pixels; 0 where there are none."""
        seen = [*self.images, *(frame for film in self.films for frame in film.frames)]
        return min((min(image.size) for image in seen), default=0)


@dataclass(frozen=True)
class FilmReader:
    """Which frames of a film a model is shown, and how.

    Attributes:
        count: most frames of a film.
        fps: frames per second of a film; None = ``count`` of every film.
        as_pictures: frames are several pictures to the model.
    """

    count: int = 8
    fps: float | None = None
    as_pictures: bool = False

    def __call__(self, turns: Sequence[Turn], images: Sequence[Image.Image], films: Sequence[FilmSource], origin: str = "") -> Shown:
        """A chat with its films read. Raises UserError where one cannot be."""
        read = tuple(read_film(film, self.count, self.fps, origin) for film in films)
        return Shown(*spread(turns, images, read)) if self.as_pictures else Shown(turns, tuple(images), read)


def prompts(encoder: PromptEncoder, shown: Sequence[Shown], **options: Any) -> EncodedPrompts:
    """Chats to be answered together: all have films, or none has.

    Args:
        **options: handed to the processor as they are.

    Raises:
        UserError: the processor refuses what it is given.
    """
    given = dict(options)
    if any(one.films for one in shown):
        given |= {"video_metadata": [[film.metadata for film in one.films] for one in shown], "do_sample_frames": False}
    films = [[list(film.frames) for film in one.films] for one in shown]
    return encoder.prompts([one.turns for one in shown], [one.images for one in shown], films, **given)


def spread(
    turns: Sequence[Turn], images: Sequence[Image.Image], films: Sequence[Film]
) -> tuple[list[dict[str, Any]], tuple[Image.Image, ...]]:
    """A chat in which each film is its frames as pictures, and all pictures in the order of their places."""
    given, taken = iter(images), iter(films)
    changed, seen = [], []
    for turn in turns:
        parts: list[Mapping[str, Any]] = []
        for part in turn["content"]:
            more = next(taken).frames if part["type"] == "video" else (next(given),) if part["type"] == "image" else ()
            seen += more
            parts += [{"type": "image"}] * len(more) if more else [part]
        changed.append({**turn, "content": parts})
    return changed, tuple(seen)
