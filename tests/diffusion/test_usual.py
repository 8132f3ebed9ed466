"""What pictures are drawn with where nothing is said."""

import pytest
import torch
from diffusers import LCMScheduler

from mmalign import pipelines
from mmalign.config import OnlineConfig, ValidationConfig
from mmalign.diffusion.family import FamilyOptions
from mmalign.diffusion.usual import NAMES
from tests.tiny_families import EVERY, VARIANTS

# as diffusers 0.42 documents the pipelines' calls
DEFAULTS = {
    "sd": (50, 7.5),
    "sdxl": (50, 5.0),
    "sd3": (28, 7.0),
    "flux": (28, 3.5),
    "sana": (20, 4.5),
    "pixart": (20, 4.5),
    "qwen_image": (50, 4.0),  # its true_cfg_scale
    "wan": (50, 5.0),
}


def usual(name, **options):
    return tuple(pipelines.load((EVERY | VARIANTS)[name](), options=FamilyOptions(**options)).drawing().values())


@pytest.mark.parametrize("name", DEFAULTS)
def test_nothing_said_is_the_pipelines_own(name):
    assert usual(name) == DEFAULTS[name]


@pytest.mark.parametrize(("name", "wanted"), [("sdxl", (4, 0.0)), ("qwen_image", (4, 0.0)), ("flux", (4, 3.5))])
def test_timesteps_tell_a_model_of_few_steps(name, wanted):
    assert usual(name, timesteps=(249, 499, 749, 999)) == wanted


def test_a_scheduler_of_few_steps_tells_one():
    pipe = EVERY["sdxl"]()
    pipe.scheduler = LCMScheduler.from_config(pipe.scheduler.config)
    assert pipelines.load(pipe).drawing() == {"num_inference_steps": 4, "guidance_scale": 0.0}


def test_flux_draws_with_the_guidance_that_it_is_trained_with_and_schnell_in_four_steps():
    assert usual("flux", guidance=1.0) == (28, 1.0)
    assert usual("flux_schnell")[0] == 4


def test_embedded_models_draw_as_their_settings_say():
    assert pipelines.load("shapes/sd3").drawing() == {"num_inference_steps": 12, "guidance_scale": 2.0}


def test_what_is_given_stands_and_the_rest_is_filled_in():
    family = pipelines.load(EVERY["sd"]())
    settled = family.settled(ValidationConfig(guidance_scale=0))
    assert (settled.num_inference_steps, settled.guidance_scale) == (50, 0)
    settled = family.settled(OnlineConfig(keep="opponent", num_inference_steps=3))
    assert (settled.num_inference_steps, settled.guidance_scale) == (3, 7.5)


def test_the_pipeline_is_called_with_these_numbers(monkeypatch):
    family, called = pipelines.load(EVERY["sdxl"](), options=FamilyOptions(timesteps=(499, 999))), []
    monkeypatch.setattr(type(family), "drawn", lambda self, prompts, seeds, **call: called.append(call) or torch.zeros(1, 3, 2, 2))
    family.sample(["a cat"], [0], guidance_scale=2.5)
    assert {name: called[0][name] for name in NAMES} == {"num_inference_steps": 2, "guidance_scale": 2.5}
