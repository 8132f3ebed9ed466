"""The pictures or clips of a prompt, opened once: which cannot be, and which are the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from PIL import Image

from mmalign.data.apng import clip_file
from mmalign.data.films import is_clip, sampled
from mmalign.errors import UserError
from mmalign.images import ImageSource, open_image
from mmalign.scoring.decode import reason

SIDE = 32
"""Of a thumbnail, pixels."""
SEEN = 8
"""Frames of a clip that are compared, evenly spaced."""


@dataclass(frozen=True)
class Look:
    """What is seen of a picture.

    Attributes:
        row: its number among all pictures.
        source: what it was opened from, file contents read.
        pixels: tells its pixels from others.
        thumbnail: (frames, 32, 32, 3), levels 0 to 255; a picture is one frame.
        error: why it cannot be opened; the others are then empty.
    """

    row: int
    source: ImageSource = b""
    pixels: bytes = b""
    thumbnail: np.ndarray | None = None
    error: str | None = None

    def same(self, other: "Look", within: float) -> bool:
        """Whether two pictures are one: equal, or with thumbnails whose root mean square difference is at most so many levels."""
        if self.pixels == other.pixels:
            return True
        if not within or self.thumbnail is None or other.thumbnail is None or self.thumbnail.shape != other.thumbnail.shape:
            return False
        return float(np.sqrt(np.mean((self.thumbnail - other.thumbnail) ** 2))) <= within


def look(row: int, source: ImageSource | UserError, name: str) -> Look:
    """Opens a picture.

    Args:
        row: its number.
        source: what to open, or why there is nothing.
        name: what messages call it.
    """
    if isinstance(source, UserError):
        return Look(row, error=reason(source))
    try:
        content = _content(source, name)
        frames = sampled(content, SEEN, name) if is_clip(content) else [open_image(content, name)]
    except (UserError, OSError) as error:
        return Look(row, error=reason(error))
    small = [np.asarray(frame.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float32) for frame in frames]
    state = blake2b(digest_size=16)
    for frame in frames:
        state.update(f"{frame.size}".encode() + frame.tobytes())
    return Look(row, content, state.digest(), np.stack(small))


def _content(source: ImageSource, name: str) -> ImageSource:
    """What is kept of a source: the content of a file; the frames of a folder as one file."""
    if isinstance(source, Path) and source.is_dir():
        return clip_file(source, name)
    return source.read_bytes() if isinstance(source, Path) else source


def without_duplicates(looks: Sequence[Look], within: float | None) -> list[Look]:
    """Pictures of which no two are the same; of such the first is kept. None = all are kept."""
    kept: list[Look] = []
    for each in looks:
        if within is None or not any(each.same(other, within) for other in kept):
            kept.append(each)
    return kept
