"""Films spoiled so that a model answers wrongly about them: a part of every frame covered, the frames in another order.

Sarkar and Etemad 2025, arXiv:2504.12083: one place in all frames, 25 to 50 % of it, and a local shuffle. The authors' code for it is not
published; that the covered part has the frame's proportions and is black, and the windows of the shuffle, are choices made here.
"""

from collections.abc import Sequence
from random import Random

from PIL import Image

from mmalign.config.rrpo import RrpoOptions


def perturbed(frames: Sequence[Image.Image], options: RrpoOptions, draw: Random) -> list[Image.Image]:
    """Frames as the options have them spoiled."""
    share = draw.uniform(*options.mask_share)
    mixed = [frames[place] for place in order(len(frames), options.shuffle, options.window, draw)]
    return covered(mixed, share, (draw.random(), draw.random())) if share else mixed


def covered(frames: Sequence[Image.Image], share: float, corner: tuple[float, float]) -> list[Image.Image]:
    """Frames with a black part of this share of their area, in the same place of each.

    Args:
        corner: where it lies between left and right, and between top and bottom, each from 0 to 1.
    """
    side = share**0.5
    made = []
    for frame in frames:
        width, height = (max(1, round(size * side)) for size in frame.size)
        left, top = (round((size - part) * at) for size, part, at in zip(frame.size, (width, height), corner, strict=True))
        frame = frame.convert("RGB").copy()
        frame.paste((0, 0, 0), (left, top, left + width, top + height))
        made.append(frame)
    return made


def order(count: int, shuffle: str, window: int, draw: Random) -> list[int]:
    """Frames in another order: within windows (local), or all (global). It is never the old one, but for one frame or none."""
    if shuffle == "none" or count < 2:
        return list(range(count))
    size = window if shuffle == "local" else count
    while True:
        parts = [list(range(start, min(start + size, count))) for start in range(0, count, size)]
        for part in parts:
            draw.shuffle(part)
        if (mixed := [place for part in parts for place in part]) != list(range(count)):
            return mixed
