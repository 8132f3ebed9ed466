"""The frames of a row: its pictures, or those of its film that are looked at."""

from dataclasses import dataclass, replace

from PIL import Image

from mmalign.errors import UserError
from mmalign.factory.questions import Asked
from mmalign.frames import evenly
from mmalign.images import ImageSource
from mmalign.vlm.films import Film, read_film


@dataclass(frozen=True)
class Frames:
    """What is seen of a row.

    Attributes:
        film: frames with their times.
        sources: what the frames are opened from where the row has pictures; empty where it has a film, whose path it keeps.
    """

    film: Film
    sources: tuple[ImageSource, ...] = ()

    @property
    def images(self) -> tuple[Image.Image, ...]:
        return self.film.frames

    def spoiled(self, images: list[Image.Image]) -> Film:
        """The film with other frames at the same times."""
        return replace(self.film, frames=tuple(images))


def frames_of(asked: Asked, count: int) -> Frames:
    """The frames of a row, evenly spaced where there are more than wanted.

    Raises:
        UserError: there are none, there are several films, or the film cannot be read.
    """
    if len(asked.videos) > 1:
        raise UserError(f"{asked.origin} has {len(asked.videos)} films; give rows with one")
    if asked.videos:
        return Frames(read_film(asked.videos[0], count, origin=asked.origin))
    sources = tuple(evenly(asked.images, count))
    return Frames(read_film(sources, count, origin=asked.origin), sources)
