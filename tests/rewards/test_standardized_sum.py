import math

import pytest
import torch

from mmalign import rewards
from mmalign.config import yaml_file
from mmalign.errors import UserError
from mmalign.rewards.standardized_sum import fit, from_scores
from mmalign.shapes.render import render
from mmalign.shapes.scene import Scene, Style
from tests.rewards.members import Channel, Darkness, plain

PICTURES = plain((0.5, 0.25, 0.0), (1.0, 0.75, 0.5))


def standardized(*entries):
    return rewards.load("standardized_sum", rewards=list(entries))


def test_each_score_is_centered_and_scaled_by_its_constants():
    reward = standardized({"reward": Channel(0), "mean": 0.25, "std": 0.5, "weight": 2.0}, {"reward": Channel(1), "mean": 1.0, "std": 0.25})
    # terms: twice half a deviation up, three deviations down; twice 1.5 up, one down
    assert reward.score(PICTURES).tolist() == [1.0 - 3.0, 3.0 - 1.0]
    # lowest at scores of 0 and 0, highest at 1 and 1
    assert reward.range == (-1.0 - 4.0, 3.0 + 0.0)


def test_a_score_is_the_images_own_whatever_it_comes_with():
    reward = standardized({"reward": Channel(0), "mean": 0.25, "std": 0.5})
    assert reward.score(PICTURES[:1]).tolist() == reward.score(PICTURES)[:1].tolist() == [0.5]


def test_gradients_are_divided_by_the_deviation():
    pixels = PICTURES.clone().requires_grad_()
    standardized({"reward": Channel(0), "mean": 7.0, "std": 0.5, "weight": 3.0}).score(pixels, differentiable=True).sum().backward()
    assert pixels.grad[:, 0, 0, 0].tolist() == [3.0 / 0.5 / 16] * 2


def test_the_constants_of_a_set_are_its_mean_and_deviation():
    assert from_scores(torch.tensor([1.0, 2.0, 3.0, 4.0])) == pytest.approx((2.5, math.sqrt(5 / 3)))
    section = fit([{"reward": Channel(0), "weight": 2.0}, Channel(1)], plain((0.0, 0.2, 0), (0.5, 0.4, 0), (1.0, 0.6, 0)))
    assert [(entry["mean"], entry["std"]) for entry in section["rewards"]] == [pytest.approx((0.5, 0.5)), pytest.approx((0.4, 0.2))]
    # the first is at the mean of red and 0.15 below that of green, the second 0.5 and 0.35 above them
    assert rewards.load(**section).score(PICTURES).tolist() == pytest.approx([-0.75, 2.0 + 1.75])


def test_constants_written_once_are_a_configuration(tmp_path):
    scenes = [Scene("large", "red", "circle", "left", "gray", Style(outline=k / 4)) for k in range(5)]
    images = render(scenes)
    section = fit([{"name": "taste", "user": "thin", "weight": -1.0}, "colorfulness"], images, path=tmp_path / "fitted.yaml")
    read = yaml_file.read(tmp_path / "fitted.yaml")
    assert read == section
    assert list(read["rewards"][0]) == ["name", "weight", "user", "mean", "std"]
    scores = rewards.load(**read).score(images)
    taste, color = rewards.load("taste", user="thin").score(images), rewards.load("colorfulness").score(images)
    expected = -(taste - taste.mean()) / taste.std() + (color - color.mean()) / color.std()
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("scores", "said"),
    [([1.0], "1 scores"), ([1.0, math.nan], "2 scores, 1 of them finite"), ([0.3, 0.3, 0.3], "all 3 scores are 0.3"), ([], "0 scores")],
)
def test_a_set_without_a_deviation_is_refused(scores, said):
    with pytest.raises(UserError, match=said):
        from_scores(torch.tensor(scores))


def test_a_reward_that_was_built_before_cannot_be_written(tmp_path):
    with pytest.raises(UserError, match="built before"):
        fit([Channel(0)], PICTURES, path=tmp_path / "x.yaml")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("colorfulness", r"the key 'rewards\[0\].mean' is missing"),
        ({"name": "colorfulness", "mean": 0.0, "std": 0.0}, r"rewards\[0\].std is 0.0, it should be greater than 0"),
        ({"reward": Darkness(), "mean": 0.0, "std": 1.0}, "give it a negative weight"),
    ],
)
def test_constants_are_never_guessed(entry, said):
    with pytest.raises(UserError, match=said):
        standardized(entry)
