"""Signed distances of the shapes, in pixels of a 64 x 64 picture: negative inside, positive outside."""

import math

import torch
from torch import Tensor

SIDE = 64
RADII = torch.tensor([10.0, 17.0])
SHIFT = 12.0
CENTERS = SIDE / 2 + SHIFT * torch.tensor([[0.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])
MAX_TILT = math.radians(20)


def grid() -> Tensor:
    """Pixel centers (SIDE, SIDE, 2) as (x, y), y downwards."""
    ticks = torch.arange(SIDE) + 0.5
    y, x = torch.meshgrid(ticks, ticks, indexing="ij")
    return torch.stack([x, y], dim=-1)


def offsets(position: Tensor) -> Tensor:
    """Pixel centers relative to the shape's center, (N, SIDE, SIDE, 2), for positions (N,) as indices."""
    return grid() - CENTERS[position][:, None, None]


def distances(size: Tensor, shape: Tensor, position: Tensor, tilt: Tensor) -> Tensor:
    """Signed distances (N, SIDE, SIDE) for indices (N,) of size, shape and position, and tilts (N,) in [0, 1]."""
    points = _rotate(offsets(position), (2 * tilt - 1) * MAX_TILT)
    radius = RADII[size][:, None, None]
    every = torch.stack([_circle(points, radius), _square(points, radius), _triangle(points, radius), _cross(points, radius)])
    return every[shape, torch.arange(len(shape))]


def _rotate(points: Tensor, angle: Tensor) -> Tensor:
    cos, sin = (f(angle)[:, None, None] for f in (torch.cos, torch.sin))
    x, y = points.unbind(-1)
    return torch.stack([cos * x + sin * y, cos * y - sin * x], dim=-1)


def _circle(points: Tensor, radius: Tensor) -> Tensor:
    return points.norm(dim=-1) - radius


def _box(points: Tensor, half_width: Tensor, half_height: Tensor) -> Tensor:
    x, y = points[..., 0].abs() - half_width, points[..., 1].abs() - half_height
    return torch.hypot(x.clamp(min=0), y.clamp(min=0)) + torch.maximum(x, y).clamp(max=0)


def _square(points: Tensor, radius: Tensor) -> Tensor:
    return _box(points, 0.85 * radius, 0.85 * radius)


def _cross(points: Tensor, radius: Tensor) -> Tensor:
    long, short = 1.05 * radius, 0.38 * radius
    return torch.minimum(_box(points, long, short), _box(points, short, long))


def _triangle(points: Tensor, radius: Tensor) -> Tensor:
    x, y = points.unbind(-1)
    slope = x.abs() * math.cos(math.pi / 6) - y * math.sin(math.pi / 6)
    return torch.maximum(slope, y) - 0.58 * radius
