from pathlib import Path

import pytest
import torch
from PIL import Image

from mmalign.errors import UserError
from mmalign.reward import Reward, alike, to_tensor

GRAYS = [0, 51, 102, 153, 204, 255]


class Brightness(Reward):
    """The mean of the pixels, plus the length of the prompt."""

    needs_prompt = True
    differentiable = True
    range = (0.0, 100.0)

    def __init__(self):
        self.batches = []

    def _score(self, images, prompts):
        self.batches.append(tuple(images.shape))
        return images.double().flatten(1).mean(1) + torch.tensor([len(prompt) for prompt in prompts])


class Blind(Brightness):
    needs_prompt = False
    differentiable = False

    def _score(self, images, prompts):
        return images.flatten(1).mean(1)


@pytest.fixture
def paths(tmp_path):
    """Six gray pictures, of which every second is wide."""
    for place, gray in enumerate(GRAYS):
        Image.new("RGB", (8 + 4 * (place % 2), 8), (gray,) * 3).save(tmp_path / f"{place}.png")
    return [tmp_path / f"{place}.png" for place in range(len(GRAYS))]


EXPECTED = torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8, 1.0]) + torch.tensor([1, 2, 3, 4, 5, 6])
PROMPTS = ["a" * length for length in range(1, 7)]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("size", [1, 2, 6, 32])
def test_every_image_gets_the_score_of_its_own_prompt(paths, workers, size):
    reward = Brightness()
    reward.workers = workers
    torch.testing.assert_close(reward.score(paths, PROMPTS, batch_size=size), EXPECTED)


def test_any_iterable_of_images_will_do(paths):
    reward = Brightness()
    torch.testing.assert_close(reward.score((path for path in paths), PROMPTS), EXPECTED)
    torch.testing.assert_close(reward.score(map(str, paths), iter(PROMPTS)), EXPECTED)
    torch.testing.assert_close(reward.score((Image.open(path) for path in paths), PROMPTS), EXPECTED)
    torch.testing.assert_close(reward.score(tuple(paths), tuple(PROMPTS)), EXPECTED)


def test_images_of_one_size_share_a_batch(paths):
    reward = Brightness()
    reward.score([paths[0], paths[2], paths[4], paths[1], paths[3]], PROMPTS[:5], batch_size=2)
    assert reward.batches == [(2, 3, 8, 8), (1, 3, 8, 8), (2, 3, 8, 12)]


def test_a_tensor_is_scored_in_batches_and_in_float32():
    reward, images = Brightness(), torch.rand(5, 3, 8, 8)
    scores = reward.score(images, "ab", batch_size=2)
    assert reward.batches == [(2, 3, 8, 8), (2, 3, 8, 8), (1, 3, 8, 8)]
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, images.flatten(1).mean(1) + 2)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_an_image_that_cannot_be_read_is_named(paths, workers, content):
    reward = Brightness()
    reward.workers = workers
    paths[3].unlink() if content is None else paths[3].write_bytes(content)
    with pytest.raises(UserError, match=f"{paths[3]} cannot be read as an image"):
        reward.score(iter(paths), PROMPTS, batch_size=2)


def test_a_truncated_image_is_named(paths):
    paths[1].write_bytes(paths[1].read_bytes()[:-20])
    for images in (paths, [Image.open(path) for path in paths]):
        with pytest.raises(UserError, match=f"{paths[1]} cannot be read as an image .*; replace it, or leave it out"):
            Brightness().score(images, PROMPTS)


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_one_image_that_is_not_read_yet_may_be_there_many_times(tmp_path, ending):
    Image.effect_noise((700, 700), 60).convert("RGB").save(tmp_path / f"noise.{ending}")
    with Image.open(tmp_path / f"noise.{ending}") as image:
        scores = Brightness().score([image] * 6, PROMPTS)
    torch.testing.assert_close(scores - scores[0], torch.arange(6.0), rtol=0, atol=1e-4)


@pytest.mark.parametrize("image", ["a.png", Path("a.png"), Image.new("RGB", (4, 4))])
def test_one_image_alone_is_asked_for_in_a_list(image):
    with pytest.raises(ValueError, match=r"give images in a list, not one \w+ alone"):
        Brightness().score(image, "a")


@pytest.mark.parametrize("image", [torch.rand(3, 8, 8), torch.rand(8, 8, 3).numpy(), None, b""])
def test_what_is_no_image_among_images_is_named(paths, image):
    with pytest.raises(ValueError, match=rf"image 1 is a {type(image).__name__}; give PIL images, paths, or one tensor"):
        Brightness().score([paths[0], image], "a")


SHAPES = [torch.rand(3, 8, 8), torch.rand(2, 1, 8, 8), torch.rand(2, 3, 0, 8), torch.zeros(2, 3, 8, 8, dtype=torch.uint8)]


@pytest.mark.parametrize("images", SHAPES)
def test_a_tensor_of_another_shape_or_kind_is_refused(images):
    with pytest.raises(ValueError, match=r"a tensor of images is \(B, 3, H, W\) in \[0, 1\], not"):
        Brightness().score(images, "a")


def test_prompts_are_needed_where_they_are_and_counted():
    images = torch.rand(3, 3, 4, 4)
    with pytest.raises(ValueError, match="needs the prompts"):
        Brightness().score(images)
    for prompts in (["a", "b"], [], ["a"] * 4):
        with pytest.raises(ValueError, match=f"3 images but {len(prompts)} prompts"):
            Brightness().score(images, prompts)
    torch.testing.assert_close(Blind().score(images), images.flatten(1).mean(1))


@pytest.mark.parametrize("prompt", [None, 3, ["a"], "half a pair \ud83d"])
def test_a_prompt_that_is_no_text_is_named(prompt):
    with pytest.raises(ValueError, match="prompt 1 is no text: "):
        Brightness().score(torch.rand(2, 3, 4, 4), ["a", prompt])
    assert len(Blind().score(torch.rand(2, 3, 4, 4), ["a", prompt])) == 2  # it does not read them


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_of_less_than_one_image_is_refused(paths, size):
    for images in (paths, torch.rand(6, 3, 4, 4)):
        with pytest.raises(ValueError, match=f"batch_size is {size}; give 1 or more"):
            Brightness().score(images, PROMPTS, batch_size=size)


def test_no_images_have_no_scores():
    assert Brightness().score([], []).shape == Brightness().score(torch.zeros(0, 3, 4, 4), "a").shape == (0,)


def test_gradients_are_kept_on_request_and_not_otherwise():
    pixels = torch.rand(3, 3, 4, 4, requires_grad=True)
    assert not Brightness().score(pixels, "a").requires_grad
    Brightness().score(pixels, "a", differentiable=True, batch_size=2).sum().backward()
    torch.testing.assert_close(pixels.grad, torch.full_like(pixels, 1 / 48))


def test_gradients_that_cannot_flow_are_refused(paths):
    with pytest.raises(ValueError, match="Blind has no gradients"):
        Blind().score(torch.rand(1, 3, 4, 4), "a", differentiable=True)
    with pytest.raises(ValueError, match="not to a list"):
        Brightness().score(paths, "a", differentiable=True)


def test_neighbors_of_one_shape_go_together():
    a, b = torch.zeros(1), torch.zeros(2)
    assert [len(few) for few in alike([a, a, a, b, a, b, b], 2)] == [2, 1, 1, 1, 2]
    assert [len(few) for few in alike([{"no": "shape"}] * 3, 2)] == [2, 1]


def test_large_pictures_go_in_small_batches():
    large = torch.zeros(1).expand(3, 3000, 4000)  # 36 million numbers
    assert [len(few) for few in alike([large] * 3, 32)] == [1, 1, 1]
    assert [len(few) for few in alike([large[:, :1500]] * 7, 32)] == [3, 3, 1]


def test_pictures_become_tensors_in_zero_to_one():
    found = to_tensor(Image.new("RGB", (2, 1), (255, 0, 51)))
    torch.testing.assert_close(found, torch.tensor([1.0, 0.0, 0.2]).view(3, 1, 1).expand(3, 1, 2))
