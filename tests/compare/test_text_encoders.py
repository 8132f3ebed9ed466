"""Adapters that reach into text encoders stand beside others that do not: each draws as in a pipeline of its own."""

import pytest
import torch

from mmalign import pipelines
from mmalign.compare.adapters import open_adapter
from mmalign.config.generate import GeneratorConfig
from mmalign.factory.models import open_model
from tests.delivery.conftest import opened, picture, run_of  # noqa: F401 (a fixture)


def alone(run):
    pipe = opened(run)
    pipe.load_lora_weights(run)
    return picture(pipe)


def shown(adapter, family, scale=1.0):
    with adapter.on(scale, None):
        return picture(family.pipe)


@pytest.mark.parametrize("name", ["sdxl", "sd3"])
def test_each_draws_as_alone_and_the_base_as_before(run_of, name):  # noqa: F811
    too, plain = run_of(name, text_encoders=True), run_of(name)
    family = pipelines.load(opened(too))
    base = picture(family.pipe)
    first, second = open_adapter(family, too, "too"), open_adapter(family, plain, "plain")
    for _ in range(2):
        torch.testing.assert_close(shown(first, family), alone(too), atol=1e-6, rtol=0)
        torch.testing.assert_close(shown(second, family), alone(plain), atol=1e-6, rtol=0)
        torch.testing.assert_close(shown(first, family, 0.0), base, atol=1e-6, rtol=0)
        assert torch.equal(picture(family.pipe), base)
        first.remove()
        first = open_adapter(family, too, "too")
    assert not torch.allclose(alone(too), alone(plain), atol=1e-3)


def test_generate_draws_with_them(run_of):  # noqa: F811
    run = run_of("sdxl", text_encoders=True)
    model = GeneratorConfig(pretrained=str(run.parent / "base"), adapter_path=str(run), dtype="float32")
    torch.testing.assert_close(picture(open_model(model)), alone(run), atol=1e-5, rtol=0)
