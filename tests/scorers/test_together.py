"""Several rewards over the same images."""

import threading

import pytest
import torch
from PIL import Image

from mmalign import rewards
from mmalign.errors import UserError
from mmalign.reward import Reward
from mmalign.scorers import together
from mmalign.scorers.together import score_together
from tests.rewards import members

REDS = [0, 51, 102, 153, 204, 255, 25, 76, 127, 178]


@pytest.fixture
def paths(tmp_path):
    """Ten pictures of two sizes, whose red is known."""
    found = [tmp_path / f"{place}.png" for place in range(len(REDS))]
    for place, (path, red) in enumerate(zip(found, REDS, strict=True)):
        Image.new("RGB", (4, 4) if place < 7 else (6, 4), (red, 255 - red, 0)).save(path)
    return found


@pytest.fixture
def opens(monkeypatch):
    """The images that were opened, in order."""
    seen, true = [], together.opened
    monkeypatch.setattr(together, "opened", lambda image: seen.append(image) or true(image))
    return seen


def test_every_image_is_opened_once_for_all(paths, opens, monkeypatch):
    decoded = []
    monkeypatch.setattr(Image, "open", lambda path, true=Image.open: decoded.append(path) or true(path))
    red, green = score_together([members.Channel(0), members.Channel(1)], paths, None)
    assert red.tolist() == pytest.approx([value / 255 for value in REDS])
    assert green.tolist() == pytest.approx([1 - value / 255 for value in REDS])
    assert sorted(decoded) == sorted(opens) == sorted(paths)


def test_each_has_batches_of_its_own_size_and_is_asked_once(paths):
    large, small = members.Channel(0, batch_size=4), members.Channel(0, batch_size=3)
    score_together([large, small], paths, ["a cat"] * 10)
    # pictures of another size begin a batch
    assert (large.batches, small.batches) == ([4, 3, 3], [3, 3, 1, 3])
    assert (large.calls, small.calls) == (1, 1)
    score_together([large, small], paths, None, batch_size=10)
    assert (large.batches[3:], small.batches[4:]) == ([7, 3], [7, 3])


def test_whoever_is_behind_goes_next(paths):
    turns = []

    class Watched(members.Channel):
        def _score(self, images, prompts):
            turns.append((self.channel, len(images)))
            return super()._score(images, prompts)

    score_together([Watched(0, batch_size=2), Watched(1, batch_size=4)], paths[:6], None)
    assert turns == [(0, 2), (1, 4), (0, 2), (0, 2), (1, 2)]


def test_a_reward_with_a_score_of_its_own_is_left_to_it(paths, opens):
    class Own(members.Channel):
        def score(self, images, prompts=None, **options):
            return torch.full((len(images),), 7.0)

    own, red = score_together([Own(), members.Channel(0)], paths, None)
    assert own.tolist() == [7.0] * 10
    assert red[5] == 1.0
    assert len(opens) == 10


def test_an_unreadable_image_is_named_and_no_thread_is_left(paths):
    paths[6].write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"6\.png cannot be read"):
        score_together([members.Channel(0, batch_size=2), members.Channel(1, batch_size=3)], paths, None)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_a_member_that_fails_leaves_no_thread(paths):
    class Broken(members.Channel):
        def _score(self, images, prompts):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        score_together([members.Channel(0, batch_size=2), Broken(batch_size=2)], paths, None)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_members_that_hold_names_find_them(paths):
    names = []

    class Naming(members.Channel):
        def _batches(self, images, prompts, size, differentiable):
            names.extend(str(images[place]) for place in range(len(images)))
            yield from super()._batches(images, prompts, size, differentiable)

    score_together([Naming()], paths, None)
    assert names == [str(path) for path in paths]


def test_a_combination_scores_pictures_paths_and_tensors_alike(paths):
    vote = {"name": "rank_vote", "rewards": [{"name": "colorfulness"}]}
    reward: Reward = rewards.load("weighted_sum", rewards=["colorfulness", {"reward": rewards.load(**vote), "weight": 100.0}])
    few = paths[:5]
    expected = reward.score(few, "a cat", batch_size=2)
    # yb = 127.5 - b with b = 0 is the same for all: M = 0.3 hypot(R - G, 127.5)
    levels = [0.3 * (((2 * red - 255) ** 2 + 127.5**2) ** 0.5) for red in REDS[:5]]
    shares = [sum((level > other) + 0.5 * (level == other) for other in levels) / 4 - 0.125 for level in levels]
    assert expected.tolist() == pytest.approx([level + 100 * share for level, share in zip(levels, shares, strict=True)], rel=1e-3)
    pictures = [Image.open(path) for path in few]
    assert torch.equal(reward.score(pictures, "a cat"), expected)
    tensor = torch.stack([members.plain((red / 255, 1 - red / 255, 0.0))[0] for red in REDS[:5]])
    torch.testing.assert_close(reward.score(tensor, "a cat"), expected)
