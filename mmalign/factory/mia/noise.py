"""The noise that the authors' scripts put on pictures before the model answers; what is trained on stays clean.

Liuziyu77/MIA-DPO, gen_data/gen_chosen_rejected, as found in the scripts; whether the paper says so is not known to us.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from PIL import Image

from mmalign.vlm.multi_image import MultiImage

CELL_STD, WHOLE_STD = 225.0, 49.0
"""Standard deviations on the cell of a collage that is asked about, and on a picture in a picture as a whole, levels of 255."""


def noisy_cell(image: Image.Image, box: tuple[float, float, float, float], draw: np.random.Generator) -> Image.Image:
    """A collage with Gaussian noise on one of its cells."""
    pixels = np.asarray(image).astype(np.float64)
    left, top, right, bottom = (round(part * size) for part, size in zip(box, image.size * 2, strict=True))
    cell = pixels[top:bottom, left:right]
    cell += draw.normal(0, CELL_STD, cell.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def wrapped(image: Image.Image, draw: np.random.Generator) -> Image.Image:
    """A picture with Gaussian noise that is cut to 8 bits before it is added, so that levels go round: much harsher than its size says."""
    pixels = np.asarray(image)
    noise = draw.normal(0, WHOLE_STD, pixels.shape).astype(np.int64).astype(np.uint8)
    return Image.fromarray(pixels + noise)


Noisy = Callable[[MultiImage, np.random.Generator], MultiImage]


def _collage(made: MultiImage, draw: np.random.Generator) -> MultiImage:
    assert made.box is not None
    return replace(made, images=(noisy_cell(made.images[0], made.box, draw),))


def _pic_in_pic(made: MultiImage, draw: np.random.Generator) -> MultiImage:
    return replace(made, images=(wrapped(made.images[0], draw),))


RELEASED: Mapping[str, Noisy] = {"collage": _collage, "pic_in_pic": _pic_in_pic}
"""By kind; sequences have none."""
