"""The other pictures that stand beside the one asked about."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from random import Random

from PIL import Image

from mmalign.errors import UserError
from mmalign.factory.questions import Asked
from mmalign.images import ImageSource


class Pool:
    """Draws other rows' pictures.

    Args:
        rows: questions.
        groups: for each row with which others it shares pictures; None = all with all.
    """

    def __init__(self, rows: Sequence[Asked], groups: Sequence[str] | None = None):
        self._rows, self._groups = rows, groups
        self._members: dict[str, list[int]] = {}
        for row, group in enumerate(groups or ()):
            self._members.setdefault(group, []).append(row)

    def others(self, row: int, count: int, draw: Random) -> list[ImageSource]:
        """So many pictures of other rows, none of them the row's own and none twice; fewer where there are no more."""
        taken = {identity(image) for image in self._rows[row].images}
        found: list[ImageSource] = []
        for place in self._tried(row, count, draw):
            images = self._images(place)
            if len(images) == 1 and (name := identity(images[0])) not in taken:
                taken.add(name)
                found.append(images[0])
                if len(found) == count:
                    break
        return found

    def _images(self, row: int) -> Sequence[ImageSource]:
        try:
            return self._rows[row].images
        except UserError:
            return ()  # said where the row's own turn comes

    def _tried(self, row: int, count: int, draw: Random) -> Iterator[int]:
        """Rows in a drawn order: some first, as all of a large pool are seldom needed."""
        members: Sequence[int] = range(len(self._rows)) if self._groups is None else self._members[self._groups[row]]
        yield from draw.sample(members, min(len(members), 8 * count))
        yield from draw.sample(members, len(members))


def identity(source: ImageSource) -> str:
    """What tells a picture from others: its path, or a digest of its content."""
    if isinstance(source, Path):
        return str(source)
    content = f"{source.mode} {source.size}".encode() + source.tobytes() if isinstance(source, Image.Image) else source
    return blake2b(content, digest_size=16).hexdigest()
