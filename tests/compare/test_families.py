"""The studio draws with every family of pictures: as the family samples, step by step, with a LoRA of its own training and without."""

import numpy as np
import pytest
import torch

from mmalign import pipelines, rewards
from mmalign.app.pairs import PicturePairs
from mmalign.compare import Cancelled, Studio, View
from mmalign.compare.png import read_view, with_settings
from mmalign.config import LoraAdapterConfig
from mmalign.data.clips import read_clip
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


CLIP = {"seeds": (3,), "steps": 2, "guidance": 1.0, "width": 16, "height": 16, "frames": 5}


def test_clips_are_drawn_as_the_family_samples_them(tmp_path):
    folder = a_run("wan", tmp_path)
    studio = Studio(made("wan"), {"mine": folder}, {"colorfulness": rewards.load("colorfulness")})
    drawn = list(studio.draw(View(PROMPT, **CLIP)))
    call = {"num_inference_steps": 2, "guidance_scale": 1.0, "width": 16, "height": 16, "num_frames": 5}
    expected = eight_bits(made("wan").sample([PROMPT], [3], **call))[0]
    assert np.array_equal(np.stack([np.asarray(frame) for frame in drawn[0].frames]), expected.permute(0, 2, 3, 1).numpy())
    aligned = eight_bits(Aligned(made("wan"), folder, **call).aligned([PROMPT], [3]))[0]
    assert np.array_equal(np.stack([np.asarray(frame) for frame in drawn[1].frames]), aligned.permute(0, 2, 3, 1).numpy())
    (scored,) = studio.score(drawn, ["colorfulness"])
    means = [np.mean(rewards.load("colorfulness").score(list(one.frames)).numpy()) for one in drawn]
    assert scored.values == pytest.approx(means, rel=1e-5)
    assert scored.differences == (None, pytest.approx(means[1] - means[0], rel=1e-4))


def test_a_clip_is_kept_as_a_png_that_moves_and_says_how_it_was_drawn():
    studio = Studio(made("wan"))
    (clip,) = studio.draw(View(PROMPT, **CLIP))
    content = with_settings(clip, "wan")
    assert [np.asarray(frame).tobytes() for frame in read_clip(content, 5)] == [np.asarray(frame).tobytes() for frame in clip.frames]
    assert read_view(content) == clip.view
    assert View.from_query(clip.view.to_query()) == clip.view
    assert studio.filled(View(PROMPT, width=16, height=16)).frames == 81


def test_lengths_that_cannot_be_drawn_are_refused_in_a_sentence():
    with pytest.raises(UserError, match="frames is 7, but clips for wan have a multiple of 4 frames and one; set 5"):
        Studio(made("wan")).filled(View(PROMPT, frames=7, width=16, height=16))
    with pytest.raises(UserError, match="500 frames are asked for; 161 are the most here"):
        Studio(made("wan")).filled(View(PROMPT, frames=500, width=16, height=16))
    with pytest.raises(UserError, match="frames is for models of films, which sana is not"):
        Studio(made("sana")).filled(View(PROMPT, frames=5))


def test_nobody_votes_on_clips(tmp_path):
    studio = Studio(made("wan"), {"mine": a_run("wan", tmp_path)})
    with pytest.raises(UserError, match="these models draw clips, and votes are on pictures here; look at clips on the tab Compare"):
        PicturePairs(studio, [PROMPT])()
