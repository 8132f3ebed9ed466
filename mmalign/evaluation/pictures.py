"""Images for people: inline in a page, and as grids in PNG files."""

import base64
import io
import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmalign.evaluation.clips import strip
from mmalign.evaluation.result import Picture

_INLINE = 128  # up to this side a lossless PNG is small; larger images are reduced and go in as JPEG
_REDUCED = 320
_TILE = 192
_GAP, _LINE = 12, 17
_INK, _MUTED = "#22262b", "#59636e"


def inline(image: np.ndarray) -> str:
    """An image (H, W, 3) uint8 as a data URI of some 30 kB at most: PNG as it is up to 128 px, JPEG of 320 px above."""
    picture, stream = Image.fromarray(image), io.BytesIO()
    kind = "png" if max(picture.size) <= _INLINE else "jpeg"
    if kind == "jpeg":
        picture.thumbnail((_REDUCED, _REDUCED), Image.Resampling.LANCZOS)
    picture.save(stream, kind, quality=88, optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"


def grid(shown: Sequence[Image.Image], captions: Sequence[str], columns: int) -> Image.Image:
    """Images in rows on white, with a caption under each."""
    width, height = max(tile.width for tile in shown), max(tile.height for tile in shown)
    lines = [_wrapped(caption, width) for caption in captions]
    row_height = height + _GAP + _LINE * max(len(caption) for caption in lines) + 4
    rows = -(-len(shown) // columns)
    page = Image.new("RGB", (columns * (width + _GAP) + _GAP, rows * row_height + _GAP), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=13)
    for position, (tile, caption) in enumerate(zip(shown, lines, strict=True)):
        left, top = _GAP + position % columns * (width + _GAP), _GAP + position // columns * row_height
        page.paste(tile, (left, top))
        for number, line in enumerate(caption):
            draw.text((left, top + tile.height + 3 + number * _LINE), line, fill=_INK, font=font)
    return page


def side_by_side(pictures: Sequence[Picture], columns: int = 3) -> Image.Image:
    """Base on the left and aligned on the right of each tile, with prompt and scores beneath."""
    return grid([_pair(picture) for picture in pictures], [pair_caption(picture) for picture in pictures], columns)


def pair_caption(picture: Picture) -> str:
    """Prompt, and for each reward the base score and the aligned score."""
    scores = ", ".join(f"{name} {value:.3g} to {picture.aligned_scores[name]:.3g}" for name, value in picture.base_scores.items())
    return f"{picture.prompt}\n{scores}"


def scaled(image: np.ndarray) -> Image.Image:
    """An image of about 192 px: small ones by a whole factor without smoothing, so that every pixel stays a square.

    Of a clip (f, h, w, 3), a few frames side by side.
    """
    if image.ndim == 4:
        tiles = [scaled(frame) for frame in strip(image)]
        page = Image.new("RGB", (sum(tile.width for tile in tiles), tiles[0].height))
        for place, tile in enumerate(tiles):
            page.paste(tile, (place * tile.width, 0))
        return page
    picture = Image.fromarray(image)
    factor = round(_TILE / max(picture.size))
    if factor >= 2:
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    picture.thumbnail((_TILE, _TILE), Image.Resampling.LANCZOS)
    return picture


def _pair(picture: Picture) -> Image.Image:
    base, aligned = scaled(picture.base), scaled(picture.aligned)
    # strips of frames stand one below the other, so that the same moments do
    right, below = (base.width + 4, 0) if picture.base.ndim == 3 else (0, base.height + _LINE + 4)
    pair = Image.new("RGB", (right + aligned.width, below + _LINE + max(base.height, aligned.height)), "white")
    draw = ImageDraw.Draw(pair)
    for side, corner, image in (("base", (0, 0), base), ("aligned", (right, below), aligned)):
        draw.text(corner, side, fill=_MUTED, font=ImageFont.load_default(size=13))
        pair.paste(image, (corner[0], corner[1] + _LINE))
    return pair


def _wrapped(caption: str, width: int) -> list[str]:
    lines = []
    for paragraph in caption.split("\n"):
        lines += textwrap.wrap(paragraph, max(12, round(width / 6.1)), max_lines=3, placeholder=" ...") or [""]
    return lines
