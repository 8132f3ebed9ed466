"""Where the pixels of a training image came from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Geometry:
    """An image's way into training, as (height, width) in pixels: SDXL's micro-conditioning.

    Attributes:
        original_size: upright, before resizing.
        crop_top_left: the window's corner in the resized and, where flipped, mirrored image.
        target_size: of the window.
    """

    original_size: tuple[int, int]
    crop_top_left: tuple[int, int]
    target_size: tuple[int, int]
