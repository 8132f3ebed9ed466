"""The studio draws with every family of pictures: as the family samples, step by step, with a LoRA of its own training and without."""

import numpy as np
import pytest
import torch

from mmalign import pipelines
from mmalign.compare import Cancelled, Studio, View
from mmalign.config import LoraAdapterConfig
from mmalign.diffusion.aligned import Aligned
from mmalign.diffusion.draw import eight_bits
from mmalign.errors import UserError
from mmalign.training.lora import LoraTraining
from tests import tiny_families
from tests.pipelines.restated import side

PROMPT = "a red fox"
PICTURES = sorted(set(tiny_families.EVERY) - {"wan"})


def made(name):
    return pipelines.load(tiny_families.EVERY[name]())


def pixels(pictures):
    return eight_bits(pictures)[0].permute(1, 2, 0).numpy()


def a_run(name, folder):
    """What a training run leaves, with weights that are not zero."""
    family = made(name)
    trained = LoraTraining(family, LoraAdapterConfig(rank=2), seed=0)
    with torch.no_grad():
        for key, parameter in family.denoiser.named_parameters():
            if "lora_B" in key:
                torch.nn.init.normal_(parameter, std=0.5)
    trained.save(folder)
    return folder


@pytest.mark.parametrize("name", PICTURES)
def test_a_family_draws_as_it_samples_and_stops_between_steps(name, tmp_path):
    folder, family = a_run(name, tmp_path), made(name)
    size = side(family)
    studio = Studio(family, {"mine": folder})
    view = View(PROMPT, seeds=(3,), steps=2, guidance=2.0, width=size, height=size)
    call = {"num_inference_steps": 2, "guidance_scale": 2.0, "width": size, "height": size}
    seen = []
    first, second = studio.draw(view, seen.append)
    assert np.array_equal(np.asarray(first.image), pixels(made(name).sample([PROMPT], [3], **call)))
    assert np.array_equal(np.asarray(second.image), pixels(Aligned(made(name), folder, **call).aligned([PROMPT], [3])))
    assert not np.array_equal(np.asarray(first.image), np.asarray(second.image))
    assert [one.step for one in seen] == [0, 1, 2, 0, 1, 2]
    steps = []
    with pytest.raises(Cancelled):
        list(studio.draw(view, steps.append, cancelled=lambda: len(steps) == 2))
    off = View(PROMPT, seeds=(3,), steps=2, guidance=2.0, width=size, height=size, models=("mine",), scales={"mine": 0.0})
    (nothing,) = studio.draw(off)
    assert np.array_equal(np.asarray(nothing.image), np.asarray(first.image))


@pytest.mark.parametrize("name", PICTURES)
def test_the_models_own_numbers_are_filled_in(name):
    full = Studio(made(name)).filled(View(PROMPT))
    assert full.steps > 0
    assert full.width == full.height > 0


def test_films_are_refused_in_a_sentence():
    studio = Studio(made("wan"))
    with pytest.raises(UserError, match="base: .*films"):
        list(studio.draw(View(PROMPT, steps=1, width=16, height=16)))
