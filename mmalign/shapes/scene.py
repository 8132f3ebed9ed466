"""What a picture of the world holds: five attributes its caption names, and five style factors no caption names."""

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from itertools import product

import torch
from torch import Tensor

SIZES = ("small", "large")
COLORS = ("red", "green", "blue", "yellow", "purple", "orange")
SHAPES = ("circle", "square", "triangle", "cross")
POSITIONS = ("center", "left", "right", "top", "bottom")
BACKGROUNDS = ("white", "gray", "pink", "cyan", "beige")

ATTRIBUTES = {"size": SIZES, "color": COLORS, "shape": SHAPES, "position": POSITIONS, "background": BACKGROUNDS}
FACTORS = ("outline", "shading", "texture", "tilt", "softness")


@dataclass(frozen=True)
class Style:
    """Style factors, each in [0, 1]: how wide the dark outline is, how glossy the shape, how strongly striped the background,
    how far the shape is turned (0.5 is upright), how blurred its edge."""

    outline: float = 0.0
    shading: float = 0.0
    texture: float = 0.0
    tilt: float = 0.5
    softness: float = 0.0

    def __post_init__(self) -> None:
        for factor, value in zip(FACTORS, astuple(self), strict=True):
            if not 0 <= value <= 1:
                raise ValueError(f"style factor {factor} is {value}; it must lie in [0, 1]")


@dataclass(frozen=True)
class Scene:
    """One picture. A word that the world does not know raises ValueError."""

    size: str
    color: str
    shape: str
    position: str
    background: str
    style: Style = Style()

    def __post_init__(self) -> None:
        for attribute, words in ATTRIBUTES.items():
            if getattr(self, attribute) not in words:
                raise ValueError(f"{attribute} {getattr(self, attribute)!r} is not one of {', '.join(words)}")


def every_scene() -> Iterator[Scene]:
    """All 1,200 combinations of attributes, in plain style."""
    return (Scene(*words) for words in product(*ATTRIBUTES.values()))


def attribute_indices(scenes: Sequence[Scene]) -> Tensor:
    """Attributes as indices (N, 5) into the word lists, in the order of ``ATTRIBUTES``."""
    rows = [[words.index(getattr(scene, name)) for name, words in ATTRIBUTES.items()] for scene in scenes]
    return torch.tensor(rows, dtype=torch.long).reshape(len(scenes), len(ATTRIBUTES))


def style_values(scenes: Sequence[Scene]) -> Tensor:
    """Style factors (N, 5), in the order of ``FACTORS``."""
    return torch.tensor([astuple(scene.style) for scene in scenes], dtype=torch.float32).reshape(len(scenes), len(FACTORS))
