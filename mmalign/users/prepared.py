"""Features made ready for small networks: centered, in standard deviations, in the directions in which pictures differ most."""

from typing import Self

import torch
from torch import Tensor, nn

from mmalign.personalization.reward_models import Choices


class Prepared(nn.Module):
    """An affine map (..., F) -> (..., P), found from pictures without their labels: principal components of standardized features,
    brought halfway to variance 1: the square root of their standard deviation stays.

    Args:
        features: F.
        dim: P.
    """

    mean: Tensor
    basis: Tensor

    def __init__(self, features: int, dim: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("basis", torch.zeros(features, dim))

    @classmethod
    def of(cls, pictures: Tensor, dim: int) -> Self:
        """From features (N, F) of pictures; components there are no more than pictures and features allow."""
        mean, scale = pictures.mean(0), pictures.std(0, correction=0).clamp_min(1e-6)
        standard = ((pictures - mean) / scale).double()
        _, values, directions = torch.linalg.svd(standard, full_matrices=False)
        spread = values / len(pictures) ** 0.5
        kept = min(dim, int((spread > 1e-4 * spread[0]).sum()))
        made = cls(pictures.shape[1], kept)
        made.mean.copy_(mean)
        made.basis.copy_(directions[:kept].T / spread[:kept].sqrt() / scale[:, None])
        return made

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.mean) @ self.basis

    def choices(self, choices: Choices) -> Choices:
        """Choices whose features are made ready; those that are not there are zeros."""
        sides = (self(side) * choices.there[..., None] for side in (choices.chosen, choices.rejected))
        return Choices(*sides, choices.there, choices.prompts)
