"""Pictures of every shape and mode that scorers meet, and what is left of them behind the one door they come in by."""

import numpy as np
import torch
from PIL import Image


def _noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).integers(0, 256, shape, dtype=np.uint8)


PICTURES = {
    "square": Image.fromarray(_noise(70, 70, 3)),
    "fitting": Image.fromarray(_noise(32, 32, 3)),
    "wide": Image.fromarray(_noise(41, 96, 3)),
    "tall": Image.fromarray(_noise(97, 40, 3)),
    "transparent": Image.fromarray(_noise(50, 61, 4)),
    "gray": Image.fromarray(_noise(45, 60)),
    "one pixel": Image.new("RGB", (1, 1), (200, 30, 90)),
    "thread": Image.fromarray(_noise(2, 50, 3)),
}


def flat(image: Image.Image) -> np.ndarray:
    """Pixels (H, W, 3), 0 to 255: transparency on white, the gray value three times."""
    pixels = np.asarray(image)
    if image.mode == "RGBA":
        alpha = pixels[..., 3:] / 255
        pixels = np.floor(pixels[..., :3] * alpha + 255 * (1 - alpha) + 0.5).astype(np.uint8)
    return np.stack([pixels] * 3, axis=-1) if pixels.ndim == 2 else pixels


def middle(image: Image.Image, side: int, mean, std, floor: bool) -> torch.Tensor:
    """The published CLIP recipe (3, S, S): the shorter side resized by PIL's bicubic, the middle cut out, standardized."""
    picture = Image.fromarray(flat(image))
    width, height = picture.size
    size = (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
    left, top = ((n - side) / 2 for n in size)
    left, top = (int(n) if floor else round(n) for n in (left, top))
    cut = np.asarray(picture.resize(size, Image.Resampling.BICUBIC))[top : top + side, left : left + side]
    return torch.from_numpy((cut / 255 - mean) / std).float().permute(2, 0, 1)


def padded(image: Image.Image, side: int, mean, std) -> torch.Tensor:
    """HPSv2's recipe (3, S, S): the longer side by bicubic in floating point, black around it, half before and the rest after."""
    pixels = flat(image) / 255
    scale = side / max(pixels.shape[:2])
    sides = [max(1, round(n * scale)) for n in pixels.shape[:2]]
    down, across = (bicubic(old, new) for old, new in zip(pixels.shape[:2], sides, strict=True))
    canvas = np.zeros((side, side, 3))
    top, left = ((side - n) // 2 for n in sides)
    canvas[top : top + sides[0], left : left + sides[1]] = np.einsum("ih,hwc,jw->ijc", down, pixels, across)
    return torch.from_numpy((canvas - mean) / std).float().permute(2, 0, 1)


def bicubic(old: int, new: int) -> np.ndarray:
    """Weights (new, old) of a resize with antialiasing by Keys' cubic of parameter -1/2, as PIL and torch have it."""
    if old == new:
        return np.eye(old)
    scale = old / new
    reach = max(scale, 1)
    centers, places = (np.arange(new)[:, None] + 0.5) * scale, np.arange(old)[None] + 0.5
    t = np.abs(places - centers) / reach
    near, far = (1.5 * t - 2.5) * t * t + 1, ((-0.5 * t + 2.5) * t - 4) * t + 2
    weights = np.where(t < 1, near, np.where(t < 2, far, 0))
    return weights / weights.sum(1, keepdims=True)
