"""Several rewards over one group: who is asked for what, and whose error stays whose."""

import math

import pytest
import torch
from PIL import Image

from mmalign.errors import UserError
from mmalign.reward import Reward
from mmalign.scoring.decode import Decoded
from mmalign.scoring.panel import Panel


class Red(Reward):
    """The first pixel's red, from 0 to 255; refuses 13, cannot say for 99, and notes what each call was about."""

    needs_prompt, differentiable, range, unit, licence, source = False, False, (0.0, 255.0), "levels", "none", "here"

    def __init__(self, refused=(13,)):
        self.refused, self.calls = refused, []

    def score(self, images, prompts=None, **_):
        reds = [image.getpixel((0, 0))[0] for image in images]
        self.calls.append((reds, prompts))
        if set(reds) & set(self.refused):
            raise ValueError("thirteen is out of reach")
        return torch.tensor([math.nan if red == 99 else float(red) for red in reds])

    def _score(self, images, prompts):
        raise NotImplementedError


class Prompted(Red):
    needs_prompt = True


class Vote(Red):
    joint = True


def group(*reds, prompts=None):
    return [
        Decoded(0, index, f"{index}.png", () if red is None else (Image.new("RGB", (1, 1), (red, 0, 0)),), prompts and prompts[index])
        for index, red in enumerate(reds)
    ]


def column(rows, title="red"):
    return [row[title] for row in rows]


def test_a_row_per_image_in_order_with_a_score_per_reward():
    first, second = Red(), Prompted()
    rows = Panel({"red": first, "other": second}).score(group(1, 2, prompts=["a", "b"]))
    assert rows == [
        {"index": 0, "image": "0.png", "prompt": "a", "red": 1.0, "other": 1.0, "error": None},
        {"index": 1, "image": "1.png", "prompt": "b", "red": 2.0, "other": 2.0, "error": None},
    ]
    assert first.calls == second.calls == [([1, 2], ["a", "b"])]


def test_a_broken_image_is_asked_about_by_nobody():
    reward, rows = Red(), group(1, None, 3)
    rows[1].errors.append("it is broken")
    rows = Panel({"red": reward}).score(rows)
    assert column(rows) == [1.0, None, 3.0]
    assert column(rows, "error") == [None, "it is broken", None]
    assert reward.calls == [([1, 3], None)]


def test_without_a_prompt_only_the_rewards_that_need_none_score():
    free, bound, rows = Red(), Prompted(), group(1, 2, prompts=["a", None])
    rows[1].lacking = "it has no prompt: 1.txt is missing"
    rows = Panel({"red": free, "bound": bound, "again": Prompted()}).score(rows)
    assert column(rows) == [1.0, 2.0]
    assert column(rows, "bound") == [1.0, None]
    assert column(rows, "error") == [None, "it has no prompt: 1.txt is missing"]
    assert free.calls == [([1, 2], ["a", ""])]
    assert bound.calls == [([1], ["a"])]


def test_a_score_that_is_no_number_is_none_and_says_so():
    rows = Panel({"red": Red(), "other": Red()}).score(group(99, 5))
    assert column(rows) == [None, 5.0]
    assert column(rows, "error") == ["red: gave no score; other: gave no score", None]


def test_the_image_that_a_reward_refuses_is_found_by_halves():
    reward = Red()
    rows = Panel({"red": reward}).score(group(1, 2, 3, 4, 5, 13, 7, 8))
    assert column(rows) == [1.0, 2.0, 3.0, 4.0, 5.0, None, 7.0, 8.0]
    assert rows[5]["error"] == "red: thirteen is out of reach"
    assert [call for call, _ in reward.calls] == [[1, 2, 3, 4, 5, 13, 7, 8], [1, 2, 3, 4], [5, 13, 7, 8], [5, 13], [5], [13], [7, 8]]


def test_a_reward_that_refuses_its_first_images_one_and_all_ends_the_run():
    with pytest.raises(UserError, match="red can score none of the first 2 images: thirteen is out of reach"):
        Panel({"red": Red()}).score(group(13, 13))
    panel = Panel({"red": Red()})
    panel.score(group(1))
    assert column(panel.score(group(13, 13))) == [None, None]
    assert column(Panel({"red": Red()}).score(group(13))) == [None]


def test_a_reward_that_gives_another_number_of_scores_ends_the_run():
    class Twice(Red):
        def score(self, images, prompts=None, **_):
            return super().score(images, prompts).repeat(2)

    with pytest.raises(UserError, match="Twice gave 4 scores for 2 images; it should give one for each"):
        Panel({"red": Twice()}).score(group(1, 2))


def test_an_error_of_the_machine_ends_the_run():
    class Full(Red):
        def score(self, *_, **__):
            raise torch.OutOfMemoryError("full")

    with pytest.raises(torch.OutOfMemoryError):
        Panel({"red": Full()}).score(group(1, 2))


def test_a_vote_is_never_parted_though_one_of_its_images_is_refused():
    reward = Vote()
    panel = Panel({"red": reward})
    assert panel.joint
    rows = panel.score(group(1, 2, 13, 4, 5, 6, prompts=["a", "a", "b", "b", "c", "c"]))
    assert column(rows) == [1.0, 2.0, None, None, 5.0, 6.0]
    assert [call for call, _ in reward.calls] == [[1, 2, 13, 4, 5, 6], [1, 2], [13, 4, 5, 6], [13, 4], [5, 6]]
