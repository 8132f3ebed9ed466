"""A contact sheet: a strip for each example, its images side by side, the preferred one in a green frame."""

from collections.abc import Sequence
from textwrap import wrap

from PIL import Image, ImageDraw, ImageFont

from mmalign.data.schema import Example
from mmalign.errors import UserError
from mmalign.images import ImageSource, open_image

TILE, FRAME, GAP, LINE, PAGE = 160, 4, 10, 16, 1060
WIDEST = 8
"""Images of a row that are shown."""
INK, MUTED, PREFERRED, TIED, BROKEN = "#22262b", "#59636e", "#1a7f37", "#9a6700", "#cf222e"


def contact_sheet(examples: Sequence[Example]) -> Image.Image:
    """The examples, in order: images by preference, then prompt, origin and what is known of the preference.

    The first image has a green frame; of a tie all have an ocher one. An image that cannot be read is a red field.
    """
    most = min(WIDEST, max((len(example.images) for example in examples), default=1))
    width = max(2, most) * (TILE + GAP) + GAP
    return page_of([_strip(example, width) for example in examples], width)


def page_of(strips: Sequence[Image.Image], width: int) -> Image.Image:
    """Strips of one width on a page, side by side as long as there is room."""
    columns = min(max(1, PAGE // width), max(1, len(strips)))
    lines = [strips[start : start + columns] for start in range(0, len(strips), columns)]
    page = Image.new("RGB", (columns * width, GAP + sum(max(strip.height for strip in line) for line in lines)), "white")
    top = 0
    for line in lines:
        for place, strip in enumerate(line):
            page.paste(strip, (place * width, top))
        top += max(strip.height for strip in line)
    return page


def _strip(example: Example, width: int) -> Image.Image:
    text = lines_of(example, width - 2 * GAP)
    strip = Image.new("RGB", (width, GAP + TILE + LINE * len(text) + GAP), "white")
    draw = ImageDraw.Draw(strip)
    for place, source in enumerate(example.images[:WIDEST]):
        left = GAP + place * (TILE + GAP)
        draw.rectangle((left, GAP, left + TILE - 1, GAP + TILE - 1), outline=frame_of(example, place), width=FRAME)
        paste(strip, draw, source, example.origin, (left, GAP))
        if example.scores is not None:
            label(draw, example.scores[place], (left + FRAME + 3, GAP + TILE - FRAME - LINE))
    write(draw, text, GAP + TILE + 2)
    return strip


def frame_of(example: Example, place: int) -> str:
    """The color of the frame around a candidate."""
    return TIED if example.preference == 0.5 else PREFERRED if place == 0 else "#ffffff"


def label(draw: ImageDraw.ImageDraw, score: float, corner: tuple[int, int]) -> None:
    """A candidate's score, readable on any picture."""
    draw.text(corner, f"{score:.4g}", fill=INK, font=ImageFont.load_default(size=12), stroke_width=3, stroke_fill="white")


def write(draw: ImageDraw.ImageDraw, text: Sequence[str], top: int) -> None:
    """Lines below candidates, the last of them, which has the facts, paler."""
    for number, line in enumerate(text):
        color = INK if number < len(text) - 1 else MUTED
        draw.text((GAP, top + number * LINE), line, fill=color, font=ImageFont.load_default(size=12))


def paste(strip: Image.Image, draw: ImageDraw.ImageDraw, source: ImageSource, origin: str, corner: tuple[int, int]) -> None:
    """Draws an image into the tile at a corner; one that cannot be read is a red field."""
    try:
        image = open_image(source, origin)
    except UserError:
        left, top, room = corner[0] + FRAME, corner[1] + FRAME, TILE - 2 * FRAME
        draw.rectangle((left, top, left + room - 1, top + room - 1), fill=BROKEN)
        return
    fit(strip, image, corner)


def fit(strip: Image.Image, image: Image.Image, corner: tuple[int, int]) -> None:
    """Puts an image into the middle of the tile at a corner."""
    room = TILE - 2 * FRAME
    scale = room / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    image = image.resize(size, Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS)
    strip.paste(image, (corner[0] + (TILE - size[0]) // 2, corner[1] + (TILE - size[1]) // 2))


def lines_of(example: Example, width: int, what: str = "images") -> list[str]:
    """The prompt in three lines at most, and a line of facts."""
    facts = [example.origin.rpartition("/")[2] or "an example"]
    facts += ["a tie" if example.preference == 0.5 else f"preferred with {example.preference:.3g}"] if example.preference < 1 else []
    facts += [f"weight {example.weight:g}"] if example.weight != 1 else []
    facts += [f"user {example.user_id}"] if example.user_id else []
    facts += [f"{len(example.images) - WIDEST} more {what}"] if len(example.images) > WIDEST else []
    prompt = wrap(example.prompt, width // 6, max_lines=3, placeholder=" ...") or ["(no prompt)"]
    return [*prompt, ", ".join(facts)]
