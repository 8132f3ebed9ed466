"""A contact sheet of clips: a line of frames for each, one below the other, so that the same moments stand above each other."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from mmalign.data.films import is_clip, sampled
from mmalign.data.inspection.sheet import (
    BROKEN,
    FRAME,
    GAP,
    LINE,
    TILE,
    WIDEST,
    contact_sheet,
    fit,
    frame_of,
    label,
    lines_of,
    page_of,
    write,
)
from mmalign.data.schema import Example
from mmalign.errors import UserError
from mmalign.images import ImageSource

SHOWN = 6
"""Frames of a clip that are shown, evenly spaced."""
WIDTH = SHOWN * TILE + 2 * GAP


def sheet_of(examples: Sequence[Example]) -> Image.Image:
    """The contact sheet of examples, of pictures or of clips. The first candidate of each has a green frame."""
    moving = any(is_clip(source) for example in examples for source in example.images)
    return page_of([_strip(example) for example in examples], WIDTH) if moving else contact_sheet(examples)


def _strip(example: Example) -> Image.Image:
    shown = example.images[:WIDEST]
    below = GAP + len(shown) * (TILE + GAP)
    text = lines_of(example, WIDTH - 2 * GAP, "clips")
    strip = Image.new("RGB", (WIDTH, below + LINE * len(text) + GAP), "white")
    draw = ImageDraw.Draw(strip)
    for place, source in enumerate(shown):
        top = GAP + place * (TILE + GAP)
        _line(strip, draw, source, example.origin, top)
        draw.rectangle((GAP, top, WIDTH - GAP - 1, top + TILE - 1), outline=frame_of(example, place), width=FRAME)
        if example.scores is not None:
            label(draw, example.scores[place], (GAP + FRAME + 3, top + TILE - FRAME - LINE))
    write(draw, text, below)
    return strip


def _line(strip: Image.Image, draw: ImageDraw.ImageDraw, source: ImageSource, origin: str, top: int) -> None:
    """Some frames of a clip; one that cannot be read is a red field."""
    try:
        frames = sampled(source, SHOWN, origin)
    except UserError:
        draw.rectangle((GAP, top, WIDTH - GAP - 1, top + TILE - 1), fill=BROKEN)
        return
    for number, frame in enumerate(frames):
        fit(strip, frame, (GAP + number * TILE, top))
