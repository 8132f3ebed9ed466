"""How a scorer prepares pictures: one recipe, on PIL images as published, and on tensors where gradients must flow."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from mmalign.reward import to_tensor

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

Fit = Literal["crop", "pad", "squash"]


@dataclass(frozen=True)
class Preprocess:
    """Resize, fit to a square, normalize.

    Attributes:
        size: side of the square, pixels.
        fit: "crop" brings the shorter side to ``size`` and cuts the middle out (CLIP); "pad" brings the longer side to ``size`` and pads
            with black, resizing the tensor rather than the picture (HPSv2); "squash" ignores the aspect (SigLIP).
        mean, std: of the normalization, per channel.
        interpolation: of the resizing.
    """

    size: int = 224
    fit: Fit = "crop"
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD
    interpolation: v2.InterpolationMode = v2.InterpolationMode.BICUBIC

    def __call__(self, image: Image.Image) -> Tensor:
        """An RGB picture as the model's input (3, size, size); resized by PIL, in 8 bits, unless padded."""
        if self.fit == "pad":
            return self._normalized(self._fitted(to_tensor(image)))
        return self._normalized(to_tensor(self._fitted(image)))

    def tensor(self, images: Tensor) -> Tensor:
        """The same of (B, 3, H, W) in [0, 1] by tensor operations, with gradients; close to the above, not equal to it."""
        return self._normalized(self._fitted(images).clamp(0, 1))

    def _fitted(self, image):
        height, width = (image.height, image.width) if isinstance(image, Image.Image) else image.shape[-2:]
        if self.fit == "squash":
            return self._resized(image, self.size, self.size)
        if self.fit == "pad":
            scale = self.size / max(height, width)
            image = self._resized(image, max(1, round(height * scale)), max(1, round(width * scale)))
            return _padded(image, self.size)
        # torchvision's and PIL's rule: the longer side is cut to a whole number
        short, long = min(height, width), max(height, width)
        side = int(self.size * long / short)
        image = self._resized(image, *((self.size, side) if height <= width else (side, self.size)))
        return tv.center_crop(image, [self.size, self.size])

    def _resized(self, image, height: int, width: int):
        return tv.resize(image, [height, width], interpolation=self.interpolation, antialias=True)

    def _normalized(self, pixels: Tensor) -> Tensor:
        mean, std = (torch.tensor(v, dtype=pixels.dtype, device=pixels.device)[:, None, None] for v in (self.mean, self.std))
        return (pixels - mean) / std


def _padded(pixels: Tensor, size: int) -> Tensor:
    height, width = pixels.shape[-2:]
    top, left = (size - height) // 2, (size - width) // 2
    return F.pad(pixels, (left, size - width - left, top, size - height - top))


def to_pil(image: Tensor) -> Image.Image:
    """A tensor (3, H, W) in [0, 1] as the picture that would be saved: rounded to 8 bits."""
    return tv.to_pil_image((image.detach().float().clamp(0, 1) * 255).round().byte().cpu())
