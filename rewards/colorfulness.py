"""How colorful a picture is, for pictures of any kind and size."""

import torch
from torch import Tensor

from mmalign.reward import Reward


class Colorfulness(Reward):
    r"""Hasler and Suesstrunk, "Measuring colourfulness in natural images" (2003), their metric M3.

    With the opponent channels rg = R - G and yb = (R + G) / 2 - B of an image in 0 to 255,

        M = sqrt(var(rg) + var(yb)) + 0.3 sqrt(mean(rg)^2 + mean(yb)^2).

    About 0 is gray, 33 moderately colorful, 82 highly and 109 extremely colorful, in the paper's survey.
    """

    needs_prompt = False
    differentiable = True
    range = (0.0, 300.0)
    unit = "colorfulness M3"
    licence = "Apache-2.0"
    source = "Hasler and Suesstrunk 2003, doi 10.1117/12.477378"

    def _score(self, images: Tensor, prompts: list[str] | None) -> Tensor:
        red, green, blue = (255 * images.float()).flatten(2).unbind(1)
        opponents = torch.stack([red - green, (red + green) / 2 - blue], dim=1)
        return _root(opponents.var(-1, correction=0).sum(1)) + 0.3 * _root(opponents.mean(-1).square().sum(1))


def _root(squares: Tensor) -> Tensor:
    """Square root (B,), with a finite gradient at zero."""
    return squares.clamp(min=1e-12).sqrt()


PLUGIN = Colorfulness
