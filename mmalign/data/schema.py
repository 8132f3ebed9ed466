"""One preference, whatever format it came in, and the one door through which its images are opened."""

import math
import struct
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from mmalign.errors import UserError

ImageSource = Path | bytes | Image.Image

_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError, struct.error, Image.DecompressionBombError)


@dataclass(frozen=True)
class Example:
    """A prompt and K candidate images, the preferred one first; the images stay as stored until ``open_image``.

    K = 1 is a winner alone, K = 2 a pair, K >= 3 a ranking, best first.

    Attributes:
        scores: K numbers, higher is better, in the order of ``images``; None where the source has none.
        weight: how much the example counts in the loss.
        preference: probability, 0.5 to 1, that the order of ``images`` is right; 0.5 is a tie kept as a soft label.
        user_id: who preferred; None where the source does not say.
        origin: where the example came from, for messages, such as "pairs.parquet, row 17".
        ranking_id: examples with the same value come from one ranking.

    Raises:
        UserError: no image, a number of scores other than K, a weight that is not above 0, or a preference outside 0.5 to 1.
    """

    prompt: str
    images: tuple[ImageSource, ...]
    scores: tuple[float, ...] | None = None
    weight: float = 1.0
    user_id: str | None = None
    origin: str = ""
    preference: float = 1.0
    ranking_id: str | None = None

    def __post_init__(self) -> None:
        where = self.origin or "an example"
        if not self.images:
            raise UserError(f"{where}: it has no image; give at least one, or leave the row out")
        if self.scores is not None and len(self.scores) != len(self.images):
            raise UserError(f"{where}: {len(self.images)} images but {len(self.scores)} scores; give one score for each image")
        if not (self.weight > 0 and math.isfinite(self.weight)):
            raise UserError(f"{where}: the weight is {self.weight}; give a number above 0, or leave the row out")
        if not 0.5 <= self.preference <= 1:
            raise UserError(f"{where}: the preference is {self.preference}; give 0.5 to 1, with the preferred image first")


def open_image(source: ImageSource, origin: str = "") -> Image.Image:
    """A new PIL image in mode RGB: turned upright by its EXIF, transparency laid on white, 16 bits brought to 8, first frame.

    Raises:
        UserError: the image is missing, broken or truncated; the message names the file or the row.
    """
    try:
        if isinstance(source, Image.Image):
            return _rgb(source)
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as image:
            image.load()
            return _rgb(image)
    except _BROKEN as error:
        remedy = "replace it, or leave such rows out with on_broken='skip'"
        raise UserError(f"{_place(source, origin)} cannot be read as an image ({_reason(error)}); {remedy}") from error


def _rgb(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, which have no fixed range")
    if image.mode.startswith("I"):
        # convert("RGB") would clip 16 bits at 255 instead of scaling them
        values = np.asarray(image).astype(np.float64) / 257
        image = Image.fromarray(np.clip(values.round(), 0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image.convert("RGB")


def _place(source: ImageSource, origin: str) -> str:
    if isinstance(source, Path):
        return f"{source} ({origin})" if origin else str(source)
    return f"an image of {origin}" if origin else "an image"


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    # Pillow's message for unknown bytes prints the address of a buffer
    return "unknown format" if "cannot identify" in str(error) else str(error) or type(error).__name__
