"""Opening images: one door, so that every part of the program sees the same pixels."""

from io import BytesIO
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image, ImageOps

from mmalign.errors import UserError

ImageSource = Path | bytes | Image.Image
ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)
"""The EXIF tag that says how a picture was held, and those of its values that swap width and height."""

# PIL reads a file when its pixels are first asked for; two threads that ask for those of one image would break each other's reading
_TURNS = [Lock() for _ in range(61)]


def open_image(source: ImageSource, origin: str = "") -> Image.Image:
    """A new PIL image in mode RGB: turned upright by its EXIF, transparency laid on white, 16 bits brought to 8, first frame.

    Safe to call from threads, for one and the same PIL image too.

    Args:
        source: a file, its content, or an image.
        origin: the row it comes from, for messages.

    Raises:
        UserError: the image is missing, broken or truncated; the message names the file or the row.
    """
    try:
        if isinstance(source, Image.Image):
            with _TURNS[id(source) % len(_TURNS)]:
                return _rgb(source)
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as image:
            image.load()
            return _rgb(image)
    except MemoryError:
        raise
    except Exception as error:  # decoders raise anything on broken bytes
        raise _unreadable(source, origin, error) from error


def upright_size(source: ImageSource, origin: str = "") -> tuple[int, int]:
    """(height, width) of an image as ``open_image`` gives it, read from its header: its pixels may still be broken.

    Raises:
        UserError: the image is missing or its header broken; the message names the file or the row.
    """
    try:
        if isinstance(source, Image.Image):
            return _upright(source)
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as image:
            return _upright(image)
    except Exception as error:  # decoders raise anything on broken bytes
        raise _unreadable(source, origin, error) from error


def _upright(image: Image.Image) -> tuple[int, int]:
    # PIL turns the size of a TIFF itself; and asking a PNG without the chunk for it would decode all of its pixels
    told = image.format != "TIFF" and (image.format != "PNG" or "exif" in image.info)
    turned = told and image.getexif().get(ORIENTATION, 1) in SIDEWAYS
    return (image.width, image.height) if turned else (image.height, image.width)


def _unreadable(source: ImageSource, origin: str, error: Exception) -> UserError:
    remedy = "replace it, or leave " + ("such rows out with on_broken='skip'" if origin else "it out")
    return UserError(f"{_place(source, origin)} cannot be read as an image ({_reason(error)}); {remedy}")


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
    # it is a copy already, which a conversion would copy again
    return image if image.mode == "RGB" else image.convert("RGB")


def _place(source: ImageSource, origin: str) -> str:
    file = source if isinstance(source, Path) else getattr(source, "filename", "")
    if file:
        return f"{file} ({origin})" if origin else str(file)
    return f"an image of {origin}" if origin else "an image"


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    # Pillow's message for unknown bytes prints the address of a buffer
    return "unknown format" if "cannot identify" in str(error) else " ".join(str(error).split()) or type(error).__name__
