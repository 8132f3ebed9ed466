"""What a studio gives, and what a base draws where nothing is said."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from mmalign.compare.view import View
from mmalign.diffusion.family import DiffusionFamily
from mmalign.errors import UserError


@dataclass(frozen=True)
class Defaults:
    """What a base draws with where nothing is said, and what sides of its pictures are multiples of, pixels.

    ``frames`` are those of a clip, None where the base draws pictures.
    """

    steps: int
    guidance: float
    side: int
    multiple: int
    frames: int | None = None


@dataclass(frozen=True)
class Progress:
    """Where a drawing stands: a step of a picture among all."""

    model: str
    seed: int
    step: int
    steps: int
    picture: int
    pictures: int

    @property
    def share(self) -> float:
        """Of all steps of all pictures, 0 to 1."""
        return (self.picture + self.step / self.steps) / self.pictures


@dataclass(frozen=True)
class Picture:
    """A picture, and all that it takes to draw it again: the view has one model and one seed.

    Of a clip, ``image`` is the first of ``frames``; a picture is one frame.
    """

    view: View
    frames: tuple[Image.Image, ...]

    @property
    def image(self) -> Image.Image:
        return self.frames[0]

    @property
    def model(self) -> str:
        return self.view.models[0]

    @property
    def seed(self) -> int:
        return self.view.seeds[0]


def check_sides(view: View, multiple: int, longest: int | None) -> None:
    """Raises UserError where a model cannot draw pictures with these sides."""
    for name, side in (("width", view.width or 0), ("height", view.height or 0)):
        if side % multiple:
            near = max(multiple, side // multiple * multiple)
            raise UserError(f"the {name} is {side} pixels, and this model draws multiples of {multiple}; give {near} or {near + multiple}")
        if longest is not None and side > longest:
            raise UserError(f"the {name} is {side} pixels, and this model draws {longest} at the most")


def defaults_of(family: DiffusionFamily) -> Defaults:
    """The numbers of a base."""
    usual = family.drawing()
    side, multiple, frames = family.default_resolution, family.side_multiple, family.default_frames
    return Defaults(int(usual["num_inference_steps"]), usual["guidance_scale"], side, multiple, frames)


def parameters_of(pipe: Any) -> Mapping[str, inspect.Parameter]:
    """What a pipeline's call takes, by name."""
    return inspect.signature(type(pipe).__call__).parameters
