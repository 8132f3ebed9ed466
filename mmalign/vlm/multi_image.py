"""Questions about one picture among several, made from questions about one picture: MIA-DPO's three constructions.

Liu et al. 2024, arXiv:2410.17637, as in the released notebooks. What they draw at random (which other pictures, where the target stands,
which lead-in) is given by the caller. The font of the names is PIL's own, theirs is Arial.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from PIL import Image, ImageDraw, ImageFont

from mmalign.errors import UserError

GRIDS: Mapping[int, tuple[int, int]] = {2: (1, 2), 3: (1, 3), 4: (2, 2), 6: (2, 3), 9: (3, 3)}
"""Rows and columns of a collage, by its number of pictures."""
CELL, MARGIN, LABEL = 448, 40, 36
"""Sides of a cell, gaps between cells with the strip above each row, and height of the labels, in pixels."""
INNER = 0.7
"""Largest share of the background's width and height that the picture in its center takes."""

MEAN_COLOR = (122, 116, 104)
"""What LLaVA pads pictures with: the mean of CLIP's training pictures, levels of 255."""

# in our own words; the released list has some ninety-five
LEAD_INS = (
    "Look at the small picture in the middle",
    "Consider only the picture in the center",
    "About the inset in the middle of the image",
    "In the picture that lies at the center of the other",
    "For the inner picture",
    "With the central picture in mind",
    "Judging by the inset alone",
    "As for the picture placed in the middle",
    "Leave the background aside and look at the center",
    "In the smaller of the two pictures",
    "Concerning the framed picture in the center",
    "Going by the picture in the middle",
)


@dataclass(frozen=True)
class MultiImage:
    """A prompt with pictures, and where in them the one is that is asked about.

    Attributes:
        kind: sequence, collage or pic_in_pic.
        images: one picture for a collage or a picture in another, several for a sequence.
        text: what is asked, without the places of the pictures.
        labels: what stands before the place of each picture, such as "Image1:"; empty where nothing does.
        target: which of the pictures is asked about, from 0 on.
        count: how many pictures there are, those within one counted.
        box: left, top, right and bottom of what is asked about, as shares of the picture; None = all of it.
    """

    kind: str
    images: tuple[Image.Image, ...]
    text: str
    labels: tuple[str, ...]
    target: int
    count: int
    box: tuple[float, float, float, float] | None = None

    def prompt(self) -> str:
        """The user's turn as a text, with a mark ``<image>`` in the place of each picture."""
        content = self.turns()[0]["content"]
        return "".join("<image>" if part["type"] == "image" else part["text"] for part in content)

    def turns(self) -> list[dict]:
        """The user's turn of a chat."""
        content: list[dict[str, str]] = []
        for label in self.labels or ("",) * len(self.images):
            content += [{"type": "text", "text": label}] if label else []
            content.append({"type": "image"})
        return [{"role": "user", "content": [*content, {"type": "text", "text": self.text}]}]


def sequence(images: Sequence[Image.Image], target: int, question: str) -> MultiImage:
    """Several pictures, one after another, each with its name on a line of its own.

    Args:
        images: two or more.
        target: which of them the question is about, from 0 on.
        question: as asked of that picture alone.
    """
    labels = ("Image1:", *(f"\nImage{number}:" for number in range(2, len(images) + 1)))
    text = f"\nIn Image{target + 1}, {lower_first(question)}"
    return MultiImage("sequence", tuple(images), text, labels, target, len(images))


def collage(images: Sequence[Image.Image], target: int, question: str) -> MultiImage:
    """Pictures in the cells of a grid, each with its name above it; the first is at the top left.

    Raises:
        UserError: there is no grid for so many pictures.
    """
    if len(images) not in GRIDS:
        raise UserError(f"a collage of {len(images)} pictures has no grid; give one of {', '.join(map(str, GRIDS))}")
    rows, columns = GRIDS[len(images)]
    size = (columns * CELL + (columns - 1) * MARGIN, rows * (CELL + MARGIN))
    canvas = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(LABEL)
    for number, image in enumerate(images):
        left, top = cell(number, columns)
        draw.text((left + 20, top - MARGIN - 5), f"Image{number + 1}", "black", font)
        canvas.paste(fitted(image, (CELL, CELL)), (left, top))
    left, top = cell(target, columns)
    box = (left / size[0], top / size[1], (left + CELL) / size[0], (top + CELL) / size[1])
    text = f"\nIn Image{target + 1}, {lower_first(question)}"
    return MultiImage("collage", (canvas,), text, (), 0, len(images), box)


def pic_in_pic(background: Image.Image, image: Image.Image, question: str, lead_in: str = LEAD_INS[0]) -> MultiImage:
    """A picture in the center of another one.

    Args:
        lead_in: what says that the inner one is meant.
    """
    width, height = background.size
    inner = fitted(image, (max(1, round(width * INNER)), max(1, round(height * INNER))))
    left, top = (width - inner.width) // 2, (height - inner.height) // 2
    canvas = background.convert("RGB").copy()
    canvas.paste(inner, (left, top))
    box = (left / width, top / height, (left + inner.width) / width, (top + inner.height) / height)
    return MultiImage("pic_in_pic", (canvas,), f"\n{lead_in}, {lower_first(question)}", (), 0, 2, box)


def squared(made: MultiImage) -> MultiImage:
    """The same with its pictures padded to squares around their middles, for models that would cut off what a square lacks.

    >>> squared(MultiImage("collage", (Image.new("RGB", (40, 20)),), "?", (), 0, 2, (0.5, 0.0, 1.0, 1.0))).box
    (0.5, 0.25, 1.0, 0.75)
    """
    images, box = [], made.box
    for image in made.images:
        side = max(image.size)
        left, top = (side - image.width) // 2, (side - image.height) // 2
        canvas = Image.new("RGB", (side, side), MEAN_COLOR)
        canvas.paste(image, (left, top))
        images.append(canvas)
        if made.box is not None:
            scale = (image.width, image.height) * 2
            box = tuple((part * size + shift) / side for part, size, shift in zip(made.box, scale, (left, top) * 2, strict=True))
    return replace(made, images=tuple(images), box=box)


def cell(number: int, columns: int) -> tuple[int, int]:
    """Left and top of a cell of a collage, in pixels."""
    row, column = divmod(number, columns)
    return column * (CELL + MARGIN), row * (CELL + MARGIN) + MARGIN


def fitted(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """A picture scaled to fit into (width, height), its sides in proportion."""
    scale = min(size[0] / image.width, size[1] / image.height)
    return image.convert("RGB").resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.LANCZOS)


def lower_first(text: str) -> str:
    """A question that goes on in a sentence: its first letter is small.

    >>> lower_first("What is this?")
    'what is this?'
    """
    return text[:1].lower() + text[1:]
