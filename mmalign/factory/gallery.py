"""Parts of reports on data that were made: pictures side by side with a frame around what matters, figures, and tables."""

import base64
from collections.abc import Sequence
from html import escape
from io import BytesIO
from typing import Any

from PIL import Image, ImageDraw

HEIGHT, WIDEST = 128, 520
"""Pixels of a picture that stands beside others, and of all of them together."""
GAP = 4
FRAME = "#1a7f37"

Box = tuple[float, float, float, float]


def strip(images: Sequence[Image.Image], framed: int | None = None, box: Box | None = None) -> Image.Image:
    """Pictures side by side, one of them in a green frame, or a part of the only one.

    Args:
        framed: which one; None = none.
        box: left, top, right and bottom of a part of the framed one, as shares of it; None = all of it.
    """
    height = HEIGHT if len(images) > 1 else 2 * HEIGHT
    small = [_sized(image, height) for image in images]
    page = Image.new("RGB", (sum(image.width for image in small) + GAP * (len(small) - 1), height), "white")
    left = 0
    for place, image in enumerate(small):
        page.paste(image, (left, 0))
        if place == framed:
            corners = [round(part * side) for part, side in zip(box or (0, 0, 1, 1), image.size * 2, strict=True)]
            ends = (left + corners[0], corners[1], left + corners[2] - 1, corners[3] - 1)
            ImageDraw.Draw(page).rectangle(ends, outline=FRAME, width=3)
        left += image.width + GAP
    page.thumbnail((WIDEST, 2 * HEIGHT), Image.Resampling.LANCZOS)
    return page


def _sized(image: Image.Image, height: int) -> Image.Image:
    scale = height / image.height
    size = (max(1, round(image.width * scale)), height)
    return image.convert("RGB").resize(size, Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS)


def uri(image: Image.Image) -> str:
    """A picture as the address of itself, some 20 kB."""
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def figure(addresses: Sequence[str], alt: str, caption: str) -> str:
    """Pictures one below the other with what is said of them; ``caption`` is HTML."""
    shown = "".join(f'<div class="side" style="grid-column: 1 / -1"><img src="{one}" alt="{escape(alt)}"></div>' for one in addresses)
    return f"<figure>{shown}<figcaption>{caption}</figcaption></figure>"


def facts(rows: Sequence[tuple[str, str]]) -> str:
    """What is known of something: names and values, which are HTML."""
    style = "white-space: normal; text-align: left; width: 74%; overflow-wrap: anywhere"
    cells = "".join(f'<tr><th scope="row">{escape(name)}</th><td style="{style}">{value}</td></tr>' for name, value in rows)
    return f'<table class="scores">{cells}</table>'


def figures(title: str, shown: Sequence[str], note: str = "") -> str:
    """A heading with figures below it; empty where there are none."""
    said = f'<p class="note">{escape(note)}</p>' if note else ""
    return f'<h3>{escape(title)}</h3>{said}<div class="pairs">{"".join(shown)}</div>' if shown else ""


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of plain texts whose first column names the rows."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in rest)}</tr>' for first, *rest in rows
    )
    return f'<div class="wide"><table class="plain numbers"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def shown_of(number: int, shards: int, wanted: int) -> int:
    """How many rows of a kind and reason a shard keeps with their pictures: of many shards only some do, so that they stay small."""
    stride = max(1, shards // max(1, 3 * wanted))
    return 0 if number % stride or not wanted else -(-wanted // max(1, shards // stride // 3))


def spread(shown: Sequence[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """So many of a list, from all over it."""
    return [shown[place * len(shown) // count] for place in range(count)] if len(shown) > count else list(shown)
