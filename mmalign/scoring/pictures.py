"""Images to score: numbered, named, and opened when their turn comes."""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate

from mmalign.data.films import is_clip
from mmalign.errors import UserError
from mmalign.images import ImageSource

FEW = 32
"""Rows of which one at least can be read, or the source has other troubles."""


class Picture(ABC):
    """One image with its prompt, neither of them read yet; read in threads.

    Attributes:
        name: its path as given, or the row it comes from.
    """

    name: str

    @abstractmethod
    def image(self) -> ImageSource:
        """What ``open_image`` opens. Raises UserError where there is none."""

    @abstractmethod
    def prompt(self) -> str | None:
        """Its own prompt; None where images of this kind have none. Raises UserError where this one lacks it."""


class Pictures(ABC):
    """The images of one source, in its order.

    Attributes:
        told: what was found, for the screen.
        prompted: whether they bring prompts of their own.
        state: what changes where other images stand there; a resumed run must find the same.
    """

    told: str
    prompted: bool
    state: str

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def written(self) -> str:
        """What changes where the files of the images or of their prompts are written anew, at places that stay."""

    @abstractmethod
    def picture(self, index: int) -> Picture:
        """An image by its place; asked for in one thread, and cheapest in order. Raises UserError where the row is broken."""

    @property
    def moving(self) -> bool:
        """Whether the first of them that can be read is a clip."""
        for index in range(min(len(self), FEW)):
            with suppress(UserError):
                return is_clip(self.picture(index).image())
        return False

    def prompts(self) -> list[str | None]:
        """All prompts, None where one is missing."""
        return [own_prompt(self.picture(index)) for index in range(len(self))]


def own_prompt(picture: Picture) -> str | None:
    """A picture's prompt, None where it is missing."""
    try:
        return picture.prompt()
    except UserError:
        return None


@dataclass(frozen=True)
class Given(Picture):
    """A picture whose prompt is given from outside."""

    base: Picture
    text: str

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.base.name

    def image(self) -> ImageSource:
        return self.base.image()

    def prompt(self) -> str:
        return self.text


class Listing(Pictures):
    """Several sources one after another.

    Args:
        sources: where the images are.
        given: prompts from outside: one for all, or one for each image of all sources; None = the sources' own.
        limit: the first so many; None = all.

    Raises:
        UserError: there are no images, or not as many prompts as images.
    """

    def __init__(self, sources: Sequence[Pictures], given: str | list[str] | None = None, limit: int | None = None):
        self._sources, self._given = sources, given
        self._ends = list(accumulate(len(source) for source in sources))
        total = self._ends[-1] if self._ends else 0
        if not total:
            raise UserError("there are no images to score; give files, folders, or a table with at least one row")
        if isinstance(given, list) and len(given) != total:
            raise UserError(
                f"there are {total} images but {len(given)} prompts in the file of prompts; give one a line, in the images' order"
            )
        self._total = total if limit is None else min(limit, total)
        part = [f"of these the first {self._total:,}"] if self._total < total else []
        self.told = "\n".join([*(source.told for source in sources), *part])
        self.prompted = given is not None or any(source.prompted for source in sources)
        self.state = digest([str(self._total), *(source.state for source in sources)])

    def __len__(self) -> int:
        return self._total

    def picture(self, index: int) -> Picture:
        number = bisect_right(self._ends, index)
        picture = self._sources[number].picture(index - (self._ends[number - 1] if number else 0))
        return picture if self._given is None else Given(picture, self._given if isinstance(self._given, str) else self._given[index])

    def written(self) -> str:
        given = self._given if isinstance(self._given, list) else []
        return digest([*(source.written() for source in self._sources), *given])

    @property
    def moving(self) -> bool:
        return any(source.moving for source in self._sources)

    def prompts(self) -> list[str | None]:
        if self._given is not None:
            return [self._given] * self._total if isinstance(self._given, str) else list(self._given[: self._total])
        return [prompt for source in self._sources for prompt in source.prompts()][: self._total]


def digest(texts: Sequence[str]) -> str:
    """What tells lists of texts apart."""
    state = blake2b(digest_size=12)
    for text in texts:
        piece = text.encode(errors="surrogateescape")
        state.update(len(piece).to_bytes(8, "little") + piece)
    return state.hexdigest()
