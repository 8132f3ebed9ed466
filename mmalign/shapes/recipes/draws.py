"""Random pictures to train on: any attributes for the autoencoder, seen captions for the denoisers, style always uniform."""

import torch
from torch import Tensor

from mmalign.shapes.captions import parse
from mmalign.shapes.render import draw
from mmalign.shapes.scene import ATTRIBUTES, FACTORS, Scene, attribute_indices


def random_pictures(count: int, generator: torch.Generator) -> Tensor:
    """Pictures (count, 3, 64, 64) in [0, 1] of random scenes."""
    return draw(random_attributes(count, generator), random_styles(count, generator))


def random_attributes(count: int, generator: torch.Generator) -> Tensor:
    """Attribute indices (count, 5), uniform and independent."""
    return torch.stack([torch.randint(len(words), (count,), generator=generator) for words in ATTRIBUTES.values()], dim=1)


def random_styles(count: int, generator: torch.Generator) -> Tensor:
    """Style factors (count, 5), uniform and independent."""
    return torch.rand(count, len(FACTORS), generator=generator)


def caption_attributes(captions: list[str]) -> Tensor:
    """Attribute indices (N, 5) that captions name."""
    return attribute_indices([Scene(**parse(text)) for text in captions])
