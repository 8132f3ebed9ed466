"""Samplers and rewards that are pure functions, so that every result can be derived."""

import importlib
import sys
from types import SimpleNamespace

import pytest
import torch

from mmalign.config.plugin import plugin_config
from mmalign.reward import Reward
from tests.painted import SCORER


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


@pytest.fixture
def painted(tmp_path, monkeypatch):
    """The class of a reward, found under the name ``known.painted``, that reads its scores from the pictures."""
    package = tmp_path / "plugins" / "known"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "painted.py").write_text(SCORER)
    monkeypatch.syspath_prepend(package.parent)
    for name in ("known", "known.painted"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("known.painted").PLUGIN


@pytest.fixture
def in_place_of(monkeypatch):
    """in_place_of(name, plugin): puts a class in the place of a reward's; its configuration is read anew, then and afterwards."""

    def put(name, plugin):
        monkeypatch.setattr(f"mmalign.rewards.{name}.PLUGIN", plugin)
        plugin_config.cache_clear()

    yield put
    monkeypatch.undo()
    plugin_config.cache_clear()
