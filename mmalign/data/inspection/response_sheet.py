"""A contact sheet of responses: a strip for each example, its pictures, what was asked, and the responses, the preferred one in green."""

from collections.abc import Iterator, Sequence
from textwrap import wrap

from PIL import Image, ImageDraw, ImageFont

from mmalign.data.inspection.sheet import GAP, INK, LINE, MUTED, PREFERRED, TIED, TILE, WIDEST, page_of, paste
from mmalign.data.responses.schema import ResponseExample

OTHER = "#cf222e"
LINES = 6
"""Of a text that are shown."""


def response_sheet(examples: Sequence[ResponseExample]) -> Image.Image:
    """The examples, in order. The preferred response is green and the others red; of a tie all are ocher."""
    most = min(WIDEST, max((len(example.images) for example in examples), default=1))
    width = max(3, most) * (TILE + GAP) + GAP
    return page_of([_strip(example, width) for example in examples], width)


def _strip(example: ResponseExample, width: int) -> Image.Image:
    font = ImageFont.load_default(size=12)
    texts = [(line, color) for text, color in _texts(example) for line in _lines(text, width - 2 * GAP)]
    top = GAP + TILE if example.images else 0
    strip = Image.new("RGB", (width, top + GAP + LINE * len(texts) + GAP), "white")
    draw = ImageDraw.Draw(strip)
    for place, source in enumerate(example.images[:WIDEST]):
        paste(strip, draw, source, example.origin, (GAP + place * (TILE + GAP), GAP))
    for number, (line, color) in enumerate(texts):
        draw.text((GAP, top + GAP + number * LINE), line, fill=color, font=font)
    return strip


def _texts(example: ResponseExample) -> Iterator[tuple[str, str]]:
    for turn in example.turns:
        yield "".join(part.get("text") or f"[{part['type']}]" for part in turn["content"]), INK
    for place, response in enumerate(example.responses):
        yield response, TIED if example.preference == 0.5 else PREFERRED if place == 0 else OTHER
    yield example.origin.rpartition("/")[2] or "an example", MUTED


def _lines(text: str, width: int) -> list[str]:
    return wrap(" ".join(text.split()), width=width // 7, max_lines=LINES, placeholder=" ...") or [""]
