"""Images, and frames of clips, decoded in threads, once for all rewards, and handed out in groups that fit into memory."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import TypeVar

from PIL import Image

from mmalign.data.films import is_clip, sampled
from mmalign.errors import UserError
from mmalign.frames import JUDGED
from mmalign.images import open_image
from mmalign.prefetch import prefetch
from mmalign.scoring.pictures import Picture

PIXELS = 1 << 26
"""Pixels of a group, 256 MiB as PIL holds them; there are two groups at a time."""
ROWS = 512
"""Rows of a group at most."""

Item = TypeVar("Item")


@dataclass
class Decoded:
    """A row ready to be scored.

    Attributes:
        chunk: the chunk it belongs to.
        index: its number among all rows.
        name: of the image.
        frames: the image, upright and RGB, or frames of the clip; empty where it cannot be read.
        prompt: None where there is none.
        lacking: why there is no prompt, for a reward that needs it.
        errors: what is wrong with the row.
    """

    chunk: int
    index: int
    name: str
    frames: tuple[Image.Image, ...] = ()
    prompt: str | None = None
    lacking: str = "it has no prompt"
    errors: list[str] = field(default_factory=list)

    @property
    def pixels(self) -> int:
        return sum(frame.width * frame.height for frame in self.frames)


def decode(row: tuple[int, int, Picture | UserError], judged: int = JUDGED) -> Decoded:
    """A picture, of which chunk and with which number, read; what is wrong with it is noted and never raised.

    Args:
        judged: frames of a clip that are read, evenly spaced.
    """
    chunk, index, picture = row
    if isinstance(picture, UserError):
        return Decoded(chunk, index, f"row {index}", errors=[reason(picture)])
    decoded = Decoded(chunk, index, picture.name)
    try:
        source = picture.image()
        origin = "" if isinstance(source, Path) else picture.name
        decoded.frames = tuple(sampled(source, judged, origin)) if is_clip(source) else (open_image(source, origin),)
    except Exception as error:  # noqa: BLE001 (decoders raise anything on broken bytes, and one image is not the run)
        decoded.errors.append(reason(error))
    try:
        decoded.prompt = picture.prompt()
    except (UserError, OSError) as error:
        decoded.lacking = reason(error)
    return decoded


def reason(error: Exception) -> str:
    """What is wrong, in one line; of a sentence to the user without its remedy, which is for who must go on."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.rpartition("; ")[0] or text if isinstance(error, UserError) else text


def grouped(decoded: Iterable[Decoded], whole_prompts: bool, pixels: int = PIXELS, count: int = ROWS) -> Iterator[list[Decoded]]:
    """Neighbors of one chunk together, until they have so many pixels, or are so many.

    Args:
        decoded: rows in order.
        whole_prompts: never part rows of one chunk with the same prompt, however large they are.
        pixels: a group ends with the row that reaches this number.
        count: or with the row that is this one of it.
    """
    group: list[Decoded] = []
    size = 0
    for row in decoded:
        full = size >= pixels or len(group) >= count
        if group and (row.chunk != group[-1].chunk or (full and not (whole_prompts and row.prompt == group[-1].prompt))):
            yield group
            group, size = [], 0
        group.append(row)
        size += row.pixels
    if group:
        yield group


def decoded_groups(
    rows: Iterable[tuple[int, int, Picture | UserError]],
    workers: int,
    whole_prompts: bool,
    pixels: int = PIXELS,
    count: int = ROWS,
    judged: int = JUDGED,
) -> Iterator[list[Decoded]]:
    """Groups of rows, of which the next one is being decoded while the reader works on one."""
    with closing(prefetch(partial(decode, judged=judged), rows, workers, ahead=2 * workers)) as decoded:
        groups = grouped(decoded, whole_prompts, pixels, count)
        yield from _one_ahead(groups) if workers else groups


def _one_ahead(items: Iterator[Item]) -> Iterator[Item]:
    with closing(prefetch(lambda _: next(items, None), repeat(None), workers=1, ahead=1)) as coming:
        while (item := next(coming)) is not None:
            yield item
