"""Clips as candidates: consecutive frames from a film's start, as models that draw films make them.

A clip is a film's file, its content, a picture that moves, or a folder of its frames in the order of their names. Nothing is left out
between the frames, and nothing is repeated, so that what moves keeps its speed.
"""

from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from mmalign.data.films import Frame, frames_of, inside, place_of
from mmalign.data.schema import Example
from mmalign.data.transforms import to_pixels, view
from mmalign.errors import UserError
from mmalign.geometry import Geometry
from mmalign.images import ImageSource, upright_size


def transform_clips(
    example: Example,
    window: tuple[int, int],
    frames: int,
    fps: float | None = None,
    crop: tuple[float, float] = (0.5, 0.5),
    flip: bool = False,
) -> tuple[Tensor, tuple[Geometry, ...]]:
    """An example's candidates as pixels (K, 3, F, H, W), float32 in [-1, 1], and K geometries; all frames of a clip share the window.

    Args:
        window: (height, width) in pixels.
        frames: F, of each clip.
        fps: frames per second that are taken of a film; None = all that it has. Frames in a folder have no times.
        crop, flip: see ``transform``.

    Raises:
        UserError: a clip cannot be read, or is too short; the message names the file or the row.
    """
    clips, geometries = [], []
    for source in example.images:
        views = [view(frame, window, crop, flip) for frame in read_clip(source, frames, fps, example.origin)]
        clips.append(to_pixels([picture for picture, _ in views]).transpose(0, 1))
        geometries.append(views[0][1])
    return torch.stack(clips), tuple(geometries)


def read_clip(source: ImageSource, frames: int, fps: float | None = None, origin: str = "") -> list[Image.Image]:
    """The first frames of a clip. Raises UserError as ``transform_clips`` does."""
    with closing(frames_of(source, origin)) as shown:
        found = [frame.picture() for frame in islice(_paced(shown, fps), frames)]
    if len(found) < frames:
        rate = "" if fps is None else f" at {fps:g} a second"
        place = place_of(source, origin)
        raise UserError(f"{place} has {len(found)} frames{rate}, but {frames} are trained on; set data.frames to fewer")
    return found


def clip_size(source: ImageSource, origin: str = "") -> tuple[int, int]:
    """(height, width) of a clip's frames. Raises UserError where it cannot be read."""
    if isinstance(source, Path) and source.is_dir():
        first = inside(source)[:1]
        if not first:
            raise UserError(f"the folder {place_of(source, origin)} holds no pictures; give a film, or a folder of its frames")
        return upright_size(first[0], origin)
    frame = read_clip(source, 1, None, origin)[0]
    return frame.height, frame.width


def _paced(frames: Iterator[Frame], fps: float | None) -> Iterator[Frame]:
    """The frames that are on the screen at 0, 1 / fps, 2 / fps ... seconds after the first; all where there is no rate, or no times."""
    shown, count = None, 0
    for frame in frames:
        if fps is None or frame.time is None:
            yield frame
            continue
        # a frame's own moment counts to it, whatever rounding says
        while shown is not None and count / fps < frame.time - 1e-6:
            yield shown
            count += 1
        shown = frame
    if shown is not None:
        yield shown
