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
        fit: "crop" brings the shorter side to ``resize`` and cuts the middle out (CLIP); "pad" brings the longer side to ``size`` and pads
            with black, resizing the tensor rather than the picture (HPSv2); "squash" ignores the aspect (SigLIP).
        mean, std: of the normalization, per channel.
        interpolation: of the resizing, with antialiasing in any case.
        resize: what "crop" brings the shorter side to, pixels; None = ``size``.
        odd: where "crop" cuts when the margins cannot be equal: "even" = the margin before is rounded to the nearest number, halves to
            even ones (torchvision, thus OpenAI's and open_clip's models), "floor" = it is the smaller one (transformers).
    """

    size: int = 224
    fit: Fit = "crop"
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD
    interpolation: v2.InterpolationMode = v2.InterpolationMode.BICUBIC
    resize: int | None = None
    odd: Literal["even", "floor"] = "even"

    def __call__(self, image: Image.Image) -> Tensor:
        """An RGB picture as the model's input (3, size, size); resized by PIL, in 8 bits, unless padded."""
        if self.fit == "pad":
            return self._normalized(self._fitted(to_tensor(image)))
        return self._normalized(to_tensor(self._fitted(image)))

    def tensor(self, images: Tensor) -> Tensor:
        """The same of (B, 3, H, W) in [0, 1] by tensor operations, with gradients.

        Padded pictures come out as above. The others are close to it, not equal: PIL rounds to 8 bits, and clips what bicubic overshoots,
        after each of its two passes, here the result is clipped once.
        """
        fitted = self._fitted(images)
        return self._normalized(fitted if self.fit == "pad" else fitted.clamp(0, 1))

    def _fitted(self, image):
        height, width = (image.height, image.width) if isinstance(image, Image.Image) else image.shape[-2:]
        if self.fit == "squash":
            return self._resized(image, self.size, self.size)
        if self.fit == "pad":
            scale = self.size / max(height, width)
            # a side that would round to nothing stays one pixel
            image = self._resized(image, max(1, round(height * scale)), max(1, round(width * scale)))
            return _padded(image, self.size)
        # torchvision's and PIL's rule: the longer side is cut to a whole number
        short, long = min(height, width), max(height, width)
        target = self.resize or self.size
        side = int(target * long / short)
        image = self._resized(image, *((target, side) if height <= width else (side, target)))
        return self._cut(image, *((target, side) if height <= width else (side, target)))

    def _cut(self, image, height: int, width: int):
        return tv.crop(image, self._margin(height), self._margin(width), self.size, self.size)

    def _margin(self, side: int) -> int:
        return (side - self.size) // 2 if self.odd == "floor" else round((side - self.size) / 2)

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
