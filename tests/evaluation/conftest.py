"""Samplers and rewards that are pure functions, so that every result can be derived."""

from types import SimpleNamespace

import pytest
import torch

from mmalign.reward import Reward


class Brightness(Reward):
    """Mean of all pixels."""

    needs_prompt = False
    differentiable = True
    range = (0.0, 1.0)
    unit = "share of white"
    licence = "none"
    source = "test"

    def _score(self, images, prompts):
        return images.mean(dim=(1, 2, 3))


class Redness(Brightness):
    """Mean of the red channel."""

    def _score(self, images, prompts):
        return images[:, 0].mean(dim=(1, 2))


class Steps(Brightness):
    """Brightness in whole steps, 0 to 5."""

    range = (0.0, 5.0)

    def _score(self, images, prompts):
        return (images.mean(dim=(1, 2, 3)) * 10).floor().clamp(0, 5)


def noise(prompts, seeds, size=8):
    """Uniform noise from each seed alone."""
    return torch.stack([torch.rand(3, size, size, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def brighter(prompts, seeds):
    """The same noise, blue channel lifted."""
    images = noise(prompts, seeds)
    images[:, 2] = images[:, 2] * 0.5 + 0.5
    return images


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def world():
    """Samplers ``noise`` and ``brighter``, and the rewards by name."""
    rewards = {"redness": Redness(), "brightness": Brightness(), "steps": Steps()}
    return SimpleNamespace(noise=noise, brighter=brighter, rewards=rewards, prompts=[f"prompt number {i}" for i in range(40)])
