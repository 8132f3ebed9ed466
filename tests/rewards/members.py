"""Rewards whose scores can be read off a picture, for tests of what is made of rewards."""

import torch
from torch import Tensor

from mmalign.reward import Reward


class Channel(Reward):
    """Mean of one channel, and a record of what it was asked."""

    needs_prompt = False
    differentiable = True
    range = (0.0, 1.0)
    unit = "brightness"
    licence = "Apache-2.0"
    source = "tests"

    def __init__(self, channel: int = 0, batch_size: int = 32) -> None:
        self.channel, self.batch_size = channel, batch_size
        self.batches, self.calls = [], 0

    def _scorer(self, prompts):
        self.calls += 1
        return super()._scorer(prompts)

    def _score(self, images: Tensor, prompts: list[str] | None) -> Tensor:
        self.batches.append(len(images))
        return images[:, self.channel].mean((-1, -2))


class Darkness(Channel):
    """The mean of a channel, of which less is better."""

    higher_is_better = False


class Letters(Channel):
    """How many letters the prompt has; pictures play no part."""

    needs_prompt = True
    differentiable = False
    range = (0.0, torch.inf)
    unit = "letters"

    def _score(self, images: Tensor, prompts: list[str] | None) -> Tensor:
        return torch.tensor([float(len(prompt)) for prompt in prompts or []])


class Listed(Channel):
    """The scores it was given, in the order of the images."""

    range = (-torch.inf, torch.inf)

    def __init__(self, scores: list[float], higher_is_better: bool = True) -> None:
        super().__init__()
        self.scores, self.higher_is_better = torch.tensor(scores), higher_is_better

    def _scorer(self, prompts):
        return lambda images, places: self.scores[places.start : places.stop]


def plain(*colors: tuple[float, float, float]) -> Tensor:
    """Pictures (B, 3, 4, 4) of one color each, in [0, 1]."""
    return torch.tensor(colors)[:, :, None, None].expand(-1, -1, 4, 4)
