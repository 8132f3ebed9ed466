"""The frames of a row: pictures, a folder of them, or a film that is decoded."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from mmalign.errors import UserError
from mmalign.factory.questions import Asked
from mmalign.images import ImageSource, open_image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def sources_of(asked: Asked, count: int) -> tuple[ImageSource, ...]:
    """What the frames are opened from, evenly spaced where there are more than wanted.

    Raises:
        UserError: there are none, there are several films, or the film cannot be decoded.
    """
    if len(asked.videos) > 1:
        raise UserError(f"{asked.origin} has {len(asked.videos)} films; give rows with one")
    if not asked.videos:
        return tuple(evenly(asked.images, count))
    place = asked.videos[0]
    if not place.is_dir():
        return tuple(decoded(place, count))
    files = sorted(path for path in place.iterdir() if path.suffix.lower() in SUFFIXES)
    if not files:
        raise UserError(f"{place} ({asked.origin}) holds no pictures; give a film, or a folder of its frames")
    return tuple(evenly(files, count))


def opened(sources: Sequence[ImageSource], origin: str) -> list[Image.Image]:
    """Frames, of the size of the first. Raises UserError where one is broken."""
    frames = [open_image(source, origin) for source in sources]
    return [frame if frame.size == frames[0].size else frame.resize(frames[0].size, Image.Resampling.BICUBIC) for frame in frames]


def evenly(items: Sequence, count: int) -> list:
    """So many items, from the middle of as many equal parts; all where there are no more.

    >>> evenly(range(8), 4)
    [1, 3, 5, 7]
    """
    if len(items) <= count:
        return list(items)
    return [items[(2 * part + 1) * len(items) // (2 * count)] for part in range(count)]


def decoded(path: Path, count: int) -> list[Image.Image]:
    """Frames of a film's file. Raises UserError where it cannot be decoded."""
    from transformers.video_utils import load_video

    try:
        frames, _ = load_video(str(path), num_frames=count)
    except Exception as error:  # decoders raise anything
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"the film {path} cannot be decoded ({reason}); install av, or give a folder of its frames") from error
    return [Image.fromarray(frame) for frame in frames]
