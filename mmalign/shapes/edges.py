"""Style measures, read from pixels: the same five factors the renderer draws, each in [0, 1]."""

from functools import cache

import torch
from torch import Tensor

from mmalign.shapes.geometry import RADII, distances, offsets
from mmalign.shapes.oracle import Readings, read, to_side
from mmalign.shapes.render import MAX_OUTLINE, MAX_STRIPE, OUTLINE_RGB, SHAPE_RGB, blur, fill, layers, stripes

REACH = 6.0  # pixels on either side of the edge that its profile covers
BINS = 24
WIDTHS, BLUR_STEPS = 17, 9


@torch.no_grad()
def measure_factors(images: Tensor, readings: Readings | None = None) -> Tensor:
    """Style measures (N, 5) of pictures (N, 3, H, W), in the order of ``FACTORS``."""
    pictures = to_side(images)
    readings = readings or read(pictures)
    size, color, shape, position, _ = readings.nearest.unbind(1)
    distance = distances(size, shape, position, readings.tilt)
    outline, softness = _edge(pictures, distance)
    inside, _, _ = layers(distance, outline * MAX_OUTLINE, blur(softness))
    shading = _shading(pictures, inside**4, _gloss(SHAPE_RGB[color], offsets(position), RADII[size]))
    return torch.stack([outline, shading, _texture(pictures, distance), readings.tilt, softness], dim=1)


def _texture(pictures: Tensor, distance: Tensor) -> Tensor:
    """How far the background's light follows the stripes."""
    weight = (distance > REACH).float()
    values, pattern = pictures.mean(1), stripes()
    slope = _slope(values[:, None], pattern.expand_as(values)[:, None], weight)
    level = ((values - slope[:, None, None] * pattern) * weight).sum((1, 2)) / weight.sum((1, 2)).clamp(min=1e-6)
    return (-slope / (MAX_STRIPE * level.clamp(min=1e-3))).clamp(0, 1)


def _shading(pictures: Tensor, weight: Tensor, change: Tensor) -> Tensor:
    """How far the fill changes across the shape as gloss would change it."""
    return _slope(pictures, change, weight).clamp(0, 1)


def _gloss(rgb: Tensor, points: Tensor, radius: Tensor) -> Tensor:
    """What full shading adds to a flat fill, (N, 3, 64, 64)."""
    flat, glossy = (fill(rgb, points, radius, torch.full_like(radius, shading)) for shading in (0.0, 1.0))
    return glossy - flat


def _slope(values: Tensor, along: Tensor, weight: Tensor) -> Tensor:
    """Weighted least squares slope (N,) of values (N, C, 64, 64) over another such tensor, a constant per channel left free."""
    weight = weight[:, None] / weight.sum((1, 2)).clamp(min=1e-6)[:, None, None, None]
    centered = along - (weight * along).sum((2, 3), keepdim=True)
    return (weight * centered * values).sum((1, 2, 3)) / (weight * centered.square()).sum((1, 2, 3)).clamp(min=1e-9)


def _edge(pictures: Tensor, distance: Tensor) -> tuple[Tensor, Tensor]:
    """Outline and softness (N,) of the edge profile nearest to the picture's, fill and background left free."""
    profile, weight = _profile(pictures, distance)
    grid, shares = _edge_grid()
    error = torch.stack([_misfit(profile, weight, share) for share in shares], dim=1)
    scale = 0.02 * error.mean(1, keepdim=True) + error.min(1, keepdim=True).values * 0.1 + 1e-8
    chances = (-(error - error.min(1, keepdim=True).values) / scale).softmax(1)
    outline, softness = (chances @ grid).unbind(1)
    return outline, softness


def _misfit(profile: Tensor, weight: Tensor, shares: Tensor) -> Tensor:
    """Squared error (N,) left when shares (3, BINS) of fill, outline and background explain a profile (N, BINS, 3)."""
    fill, dark, behind = shares
    rest = profile - dark[:, None] * OUTLINE_RGB
    ff, fb, bb = weight @ (fill * fill) + 1e-4, weight @ (fill * behind), weight @ (behind * behind) + 1e-4
    fr, br = (torch.einsum("nb,b,nbc->nc", weight, share, rest) for share in (fill, behind))
    det = (ff * bb - fb * fb).clamp(min=1e-6)[:, None]
    inner = ((bb[:, None] * fr - fb[:, None] * br) / det).clamp(0, 1)
    outer = ((ff[:, None] * br - fb[:, None] * fr) / det).clamp(0, 1)
    fitted = fill[:, None] * inner[:, None] + behind[:, None] * outer[:, None]
    return (weight * (rest - fitted).square().sum(2)).sum(1)


def _profile(pictures: Tensor, distance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean color (N, BINS, 3) by distance from the edge, and the share of pixels (N, BINS) in each bin."""
    index = ((distance + REACH) * BINS / (2 * REACH)).floor().long().flatten(1)
    near = ((index >= 0) & (index < BINS)).float()
    index = index.clamp(0, BINS - 1)
    count = torch.zeros(len(pictures), BINS).scatter_add_(1, index, near)
    colors = (pictures.flatten(2) * near[:, None]).transpose(1, 2)
    total = torch.zeros(len(pictures), BINS, 3).scatter_add_(1, index[:, :, None].expand(-1, -1, 3), colors)
    return total / count.clamp(min=1)[:, :, None], count / count.sum(1, keepdim=True).clamp(min=1)


@cache
def _edge_grid() -> tuple[Tensor, Tensor]:
    """Outline and softness (G, 2) of the candidate edges, and their shares (G, 3, BINS)."""
    outline, softness = torch.meshgrid(torch.linspace(0, 1, WIDTHS), torch.linspace(0, 1, BLUR_STEPS), indexing="ij")
    grid = torch.stack([outline.flatten(), softness.flatten()], dim=1)
    middles = (torch.arange(BINS) + 0.5) * 2 * REACH / BINS - REACH
    shares = layers(middles.expand(len(grid), BINS), grid[:, 0] * MAX_OUTLINE, blur(grid[:, 1]))
    return grid, torch.stack(shares, dim=1)
