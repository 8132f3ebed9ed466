"""The renderer: anti-aliased pictures from signed distances, a whole batch at once."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmalign.shapes.geometry import RADII, distances, grid, offsets
from mmalign.shapes.scene import Scene, attribute_indices, style_values

SHAPE_RGB = torch.tensor(
    [[0.85, 0.10, 0.12], [0.13, 0.62, 0.20], [0.16, 0.36, 0.90], [0.97, 0.86, 0.10], [0.56, 0.22, 0.74], [1.00, 0.52, 0.05]]
)
BACKGROUND_RGB = torch.tensor([[0.98, 0.98, 0.98], [0.52, 0.52, 0.52], [1.00, 0.70, 0.80], [0.62, 0.90, 0.96], [0.93, 0.84, 0.66]])
OUTLINE_RGB = torch.tensor([0.06, 0.06, 0.06])

MAX_OUTLINE = 4.0  # pixels
BLURS = (0.4, 2.4)  # standard deviation of the edge in pixels, at softness 0 and 1
MAX_STRIPE = 0.28  # share of the background's light that the darkest stripe takes
STRIPE_PERIOD = 11.0  # pixels along a row


def render(scenes: Sequence[Scene]) -> Tensor:
    """Pictures (N, 3, 64, 64) in [0, 1]."""
    return draw(attribute_indices(scenes), style_values(scenes))


def draw(attributes: Tensor, styles: Tensor) -> Tensor:
    """Pictures (N, 3, 64, 64) in [0, 1] from attribute indices (N, 5) and style factors (N, 5)."""
    size, color, shape, position, background = attributes.unbind(1)
    outline, shading, texture, tilt, softness = styles.unbind(1)
    inside, edge, outside = layers(distances(size, shape, position, tilt), outline * MAX_OUTLINE, blur(softness))
    filled = fill(SHAPE_RGB[color], offsets(position), RADII[size], shading)
    behind = BACKGROUND_RGB[background][:, :, None, None] * (1 - MAX_STRIPE * texture[:, None, None, None] * stripes())
    picture = inside[:, None] * filled + edge[:, None] * OUTLINE_RGB[:, None, None] + outside[:, None] * behind
    return picture.clamp(0, 1)


def blur(softness: Tensor) -> Tensor:
    """Standard deviation of the edge in pixels."""
    return BLURS[0] + (BLURS[1] - BLURS[0]) * softness


def layers(distance: Tensor, width: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shares of the fill, of the outline and of the background at signed distances (N, ...); they add up to one.

    ``width`` and ``sigma`` (N,) are the outline's width and the edge's blur in pixels.
    """
    width, sigma = (x.reshape(-1, *[1] * (distance.dim() - 1)) for x in (width, sigma))
    inner, outer = (torch.special.ndtr((distance + side * width / 2) / sigma) for side in (1, -1))
    return 1 - inner, inner - outer, outer


def stripes() -> Tensor:
    """The background's pattern (64, 64) in [0, 1]."""
    x, y = grid().unbind(-1)
    return 0.5 + 0.5 * torch.sin(2 * math.pi * (x - y) / STRIPE_PERIOD)


def _light(points: Tensor, radius: Tensor) -> Tensor:
    """How far from the light a point of the shape lies, (N, 64, 64): 0 at its upper left, 1 at its lower right."""
    return (0.5 + points.sum(-1) / (math.sqrt(8) * radius[:, None, None])).clamp(0, 1)


def fill(rgb: Tensor, points: Tensor, radius: Tensor, shading: Tensor) -> Tensor:
    """A shape's color (N, 3, 64, 64): flat at shading 0, darkening away from the light and with a highlight at 1."""
    radius_map, shading_map = radius[:, None, None], shading[:, None, None]
    dark = 1 - 0.55 * shading_map * _light(points, radius)
    spot = 0.45 * shading_map * torch.exp(-(points / radius_map[..., None] + 0.25).square().sum(-1) / (2 * 0.3**2))
    flat = rgb[:, :, None, None] * dark[:, None]
    return flat + (1 - flat) * spot[:, None]
