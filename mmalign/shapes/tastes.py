"""Tastes: what a user likes about a picture's style, whatever its caption says.

A taste weighs the style measures; a user has a taste and, as people do, some noise. No taste looks at an attribute that captions name.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType

import torch
from torch import Tensor

from mmalign.shapes.edges import measure_factors
from mmalign.shapes.scene import FACTORS

NAMES = ["ada", "bo", "cai", "dov", "eli", "fay", "gus", "hana", "ivo", "jun", "kai", "lea", "max", "nia", "oz", "pia"]

SIMPLE = {
    "bold": {"outline": 1.0},
    "thin": {"outline": -1.0},
    "glossy": {"shading": 1.0},
    "flat": {"shading": -1.0},
    "striped": {"texture": 1.0},
    "plain": {"texture": -1.0},
    "crisp": {"softness": -1.0},
    "poster": {"outline": 1.0, "texture": -1.0},
    "comic": {"outline": 0.6, "shading": -0.4},
}


@dataclass(frozen=True)
class Taste:
    """Weights over the style factors and the deviation of the noise in a user's judgments, in units of the score.

    Raises:
        ValueError: an unknown factor, or no weight but zero.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    noise: float = 0.0

    def __post_init__(self) -> None:
        unknown = [name for name in self.weights if name not in FACTORS]
        if unknown:
            raise ValueError(f"no style factor is called {unknown[0]!r}; there are: {', '.join(FACTORS)}")
        if not any(self.weights.values()):
            raise ValueError("a taste needs at least one weight that is not zero")
        object.__setattr__(self, "weights", MappingProxyType(dict(self.weights)))

    def score(self, images: Tensor) -> Tensor:
        """Scores (N,) in [-1, 1] of pictures (N, 3, H, W): the weighted mean of the style measures."""
        weights = torch.tensor([self.weights.get(name, 0.0) for name in FACTORS])
        return (measure_factors(images) * weights).sum(1) / weights.abs().sum()

    def judge(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Scores (N,) as this user gives them at one moment: with noise."""
        scores = self.score(images)
        return scores + self.noise * torch.randn(scores.shape, generator=generator)


def measure(images: Tensor) -> dict[str, Tensor]:
    """Style measures (N,) in [0, 1] by factor, of pictures (N, 3, H, W) in [0, 1]."""
    return dict(zip(FACTORS, measure_factors(images).unbind(1), strict=True))


@cache
def users() -> dict[str, Taste]:
    """The population: nine simple users who are sure of their taste, and sixteen mixed ones, some of them unsure."""
    return {name: Taste(weights) for name, weights in SIMPLE.items()} | {name: _mixed(name) for name in NAMES}


def _mixed(name: str) -> Taste:
    """Two or three weights and some noise, drawn from the name."""
    draws = random.Random(name)
    factors = draws.sample(FACTORS, draws.choice((2, 3)))
    weights = {factor: round(draws.choice((-1, 1)) * draws.uniform(0.3, 1.0), 2) for factor in factors}
    return Taste(weights, noise=draws.choice((0.0, 0.02, 0.05, 0.1)))
