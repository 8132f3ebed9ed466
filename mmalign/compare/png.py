"""Pictures as PNG, animated where they are clips: with the settings that draw them again, or with nothing but their pixels."""

import io
from zipfile import ZIP_STORED, ZipFile

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mmalign.compare.pictures import Picture
from mmalign.compare.view import View
from mmalign.config.generate import FPS
from mmalign.data.apng import apng, with_texts
from mmalign.errors import UserError

CHUNK = "mmalign"
"""Text chunk with the view as JSON."""
PARAMETERS = "parameters"
"""Text chunk that other programs read, by the habit of the AUTOMATIC1111 web interface."""


def with_settings(picture: Picture, base: str = "") -> bytes:
    """A lossless PNG that says how it was drawn.

    Args:
        base: what the base is called.
    """
    said = PngInfo()
    said.add_itxt(CHUNK, picture.view.to_json())
    said.add_itxt(PARAMETERS, told(picture.view, base))
    still = _written(pixels(picture.image), said)
    return still if len(picture.frames) == 1 else with_texts(apng(picture.frames, FPS), still)


def pixels(image: Image.Image) -> Image.Image:
    """The picture with nothing but its pixels: no metadata, no file name."""
    image = image.convert("RGB")
    return Image.frombytes("RGB", image.size, image.tobytes())


def read_view(content: bytes) -> View:
    """The view that a PNG or a file of a view says. Raises UserError where it says none."""
    if not content.startswith(b"\x89PNG"):
        return View.from_json(content)
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            said = image.text
    except Exception as error:  # decoders raise anything on broken bytes
        raise UserError("this picture cannot be read; give a PNG that the page has written") from error
    if CHUNK not in said:
        raise UserError("this picture does not say how it was drawn; give a PNG that the page has written")
    return View.from_json(said[CHUNK])


def told(view: View, base: str = "") -> str:
    """The settings of a picture in words that other programs read."""
    model = view.models[0]
    numbers = {
        "Steps": view.steps,
        "CFG scale": view.guidance,
        "Seed": view.seeds[0],
        "Size": f"{view.width}x{view.height}",
        **({} if view.frames is None else {"Frames": view.frames}),
        "Model": f"{base} + {model}" if base else model,
    }
    if view.scale(model) != 1:
        numbers["LoRA scale"] = view.scale(model)
    lines = [view.prompt, *([f"Negative prompt: {view.negative_prompt}"] if view.negative_prompt else [])]
    return "\n".join([*lines, ", ".join(f"{name}: {value}" for name, value in numbers.items())])


def file_name(picture: Picture) -> str:
    """What a download is called: the model and the seed."""
    return f"{picture.model}_seed{picture.seed}.png"


def bundle(pictures: list[Picture], view: View, base: str = "") -> bytes:
    """All pictures of a view, lossless, with the view, as a ZIP file."""
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", ZIP_STORED) as archive:
        for picture in pictures:
            archive.writestr(file_name(picture), with_settings(picture, base))
        archive.writestr("view.json", view.to_json())
    return buffer.getvalue()


def _written(image: Image.Image, said: PngInfo) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", pnginfo=said)
    return buffer.getvalue()
