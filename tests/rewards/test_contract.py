"""What every reward in the folder promises, run over each of them.

A reward that loads a model has a file of its name in ``tiny/``, whose ``fields(folder)`` writes a tiny model there in the published
format and gives what the reward is built with.
"""

import importlib
import importlib.util

import pytest
import torch
from PIL import Image

from mmalign import plugins, rewards
from mmalign.errors import UserError
from mmalign.shapes.captions import prompts
from mmalign.shapes.render import render
from mmalign.shapes.scene import Scene, Style

NAMES = plugins.names("mmalign.rewards")
CAPTIONS = prompts("seen")[:4]


@pytest.fixture(scope="module", params=NAMES)
def reward(request, tmp_path_factory):
    tiny = f"tests.rewards.tiny.{request.param}"
    if importlib.util.find_spec(tiny) is None:
        return rewards.load(request.param)
    return rewards.load(request.param, **importlib.import_module(tiny).fields(tmp_path_factory.mktemp(request.param)))


@pytest.fixture(scope="module")
def images():
    """Four pictures in values that eight bits can hold."""
    scenes = [
        Scene("large", "red", "circle", "left", "gray", Style(outline=0.8)),
        Scene("small", "blue", "cross", "center", "white", Style(shading=0.9, tilt=0.2)),
        Scene("large", "yellow", "square", "top", "cyan", Style(texture=1.0)),
        Scene("small", "purple", "triangle", "bottom", "pink", Style(softness=0.7)),
    ]
    return (render(scenes) * 255).round() / 255


def pil(image):
    return Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy())


def test_one_float32_score_per_image_within_the_declared_range(reward, images):
    scores = reward.score(images, CAPTIONS)
    low, high = reward.range
    assert scores.shape == (4,)
    assert scores.dtype == torch.float32
    assert ((scores >= low) & (scores <= high)).all()


def test_a_batch_of_one_and_of_none(reward, images):
    assert reward.score(images[:1], CAPTIONS[:1]).shape == (1,)
    assert reward.score(images[:0], []).shape == (0,)


def test_a_score_does_not_depend_on_its_batch(reward, images):
    if reward.joint:
        pytest.skip("a vote is among the images of a prompt")
    alone = torch.cat([reward.score(image[None], [caption]) for image, caption in zip(images, CAPTIONS, strict=True)])
    torch.testing.assert_close(reward.score(images, CAPTIONS), alone, rtol=1e-4, atol=1e-4)


def test_scoring_twice_gives_the_same_also_inside_somebody_s_mixed_precision(reward, images):
    expected = reward.score(images, CAPTIONS)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert torch.equal(reward.score(images, CAPTIONS), expected)
        assert torch.is_autocast_enabled("cpu")


def test_tensors_pictures_and_paths_score_alike(reward, images, tmp_path):
    pictures = [pil(image) for image in images]
    paths = [tmp_path / f"{i}.png" for i in range(len(pictures))]
    for picture, path in zip(pictures, paths, strict=True):
        picture.save(path)
    expected = reward.score(images, CAPTIONS)
    torch.testing.assert_close(reward.score(pictures, CAPTIONS), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(reward.score(paths, CAPTIONS), expected, rtol=1e-4, atol=1e-4)


def test_any_iterable_of_pictures_will_do_and_nothing_else(reward, images):
    pictures = [pil(image) for image in images]
    assert torch.equal(reward.score(iter(pictures), iter(CAPTIONS)), reward.score(pictures, CAPTIONS))
    for wrong in (pictures[0], "0.png", images[0], [images[0]]):
        with pytest.raises(ValueError, match="give images in a list|a tensor of images is|image 0 is a Tensor"):
            reward.score(wrong, CAPTIONS[0])


SIZES = {"wide": (96, 40), "tall": (40, 96), "larger": (300, 260)}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_pictures_of_several_sizes_go_together(reward, images, size):
    pictures = [pil(images[0]), pil(images[1]).resize(size)]
    scores = reward.score(pictures, CAPTIONS[:2])
    assert scores.shape == (2,)
    assert scores.isfinite().all()


def test_one_prompt_serves_all_and_a_wrong_number_is_refused(reward, images):
    assert torch.equal(reward.score(images, CAPTIONS[0]), reward.score(images, CAPTIONS[:1] * 4))
    with pytest.raises(ValueError, match="4 images but 3 prompts"):
        reward.score(images, CAPTIONS[:3])


def test_prompts_matter_as_declared(reward, images):
    if reward.needs_prompt:
        with pytest.raises(ValueError, match="prompts"):
            reward.score(images)
    else:
        assert torch.equal(reward.score(images), reward.score(images, CAPTIONS))


def test_gradients_reach_the_pixels_as_declared(reward, images):
    pixels = images.clone().requires_grad_()
    assert not reward.score(pixels, CAPTIONS).requires_grad
    if not reward.differentiable:
        with pytest.raises(ValueError, match="no gradients"):
            reward.score(pixels, CAPTIONS, differentiable=True)
        return
    scores = reward.score(pixels, CAPTIONS, differentiable=True)
    scores.sum().backward()
    assert pixels.grad.isfinite().all()
    assert (pixels.grad.abs().flatten(1).sum(1) > 0).all()
    with pytest.raises(ValueError, match="tensor"):
        reward.score([pil(image) for image in images], CAPTIONS, differentiable=True)


def test_the_batch_size_changes_nothing(reward, images):
    expected = reward.score(images, CAPTIONS)
    torch.testing.assert_close(reward.score([pil(image) for image in images], CAPTIONS, batch_size=3), expected, rtol=1e-4, atol=1e-4)


def test_facts_are_declared(reward):
    low, high = reward.range
    assert low < high
    assert all(isinstance(fact, str) and fact for fact in (reward.unit, reward.licence, reward.source))


def test_an_unknown_name_or_field_names_the_nearest():
    with pytest.raises(UserError, match="colorfulness"):
        rewards.load("colourfulness")
    with pytest.raises(UserError, match="user"):
        rewards.load("taste", users="bold")
