import math

import pytest
import torch

from mmalign import rewards
from mmalign.errors import UserError
from tests.rewards.members import Channel, Listed, plain


def vote(*scores, prompts="a prompt", ties="half", **facts):
    """Shares of the votes of images whose scores are given voter by voter."""
    reward = rewards.load("rank_vote", rewards=[Listed(list(voter), **facts) for voter in scores], ties=ties)
    return reward.score(torch.zeros(len(scores[0]), 3, 4, 4), prompts).tolist()


def test_the_shares_of_four_images_under_two_voters_counted_by_hand():
    # wins of the first voter: 3, 2, 1, 0; of the second: 2, 3, 0, 1; over 2 * 3 pairs
    assert vote([9.0, 5.0, 2.0, 1.0], [0.3, 0.4, 0.1, 0.2]) == pytest.approx([5 / 6, 5 / 6, 1 / 6, 1 / 6])


def test_it_is_the_papers_count_over_every_ordered_pair():
    scores = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    for ties, worth in (("none", 0.0), ("half", 0.5)):
        counted = [
            sum(1.0 if voter[i] > voter[j] else worth if voter[i] == voter[j] else 0.0 for voter in scores for j in range(4) if j != i)
            / (5 * 3)
            for i in range(4)
        ]
        assert vote(*scores.tolist(), ties=ties) == pytest.approx(counted)


def test_a_tie_is_half_a_vote_for_both_or_none():
    assert vote([1.0, 1.0, 0.0]) == pytest.approx([0.75, 0.75, 0.0])
    assert vote([1.0, 1.0, 0.0], ties="none") == pytest.approx([0.5, 0.5, 0.0])


def test_scales_play_no_part_and_directions_do():
    assert vote([1.0, 2.0, 3.0], [-1e6, 1e-6, 1e6]) == [0.0, 0.5, 1.0]
    assert vote([1.0, 2.0, 3.0], higher_is_better=False) == [1.0, 0.5, 0.0]


def test_images_stand_against_those_of_their_own_prompt():
    assert vote([3.0, 9.0, 1.0, 8.0], prompts=["cat", "dog", "cat", "dog"]) == [1.0, 1.0, 0.0, 0.0]


def test_an_image_alone_is_neither_better_nor_worse():
    assert vote([3.0, 9.0, 1.0], prompts=["cat", "dog", "cat"]) == [1.0, 0.5, 0.0]


def test_a_voter_without_a_score_does_not_vote_on_that_image():
    # the second voter knows nothing of image 0: it votes for 2 over 1; pairs voted on are 2, 3, 3
    assert vote([3.0, 2.0, 1.0], [math.nan, 1.0, 2.0]) == pytest.approx([2 / 2, 1 / 3, 1 / 3])
    missing = vote([math.nan, 2.0, 1.0])
    assert math.isnan(missing[0])
    assert missing[1:] == [1.0, 0.0]
    assert vote([math.nan, 2.0])[1] == 0.5


def test_the_batch_size_plays_no_part():
    pictures = plain((0.1, 0.9, 0.0), (0.2, 0.8, 0.0), (0.3, 0.1, 0.0), (0.4, 0.2, 0.0), (0.5, 0.3, 0.0))
    reward = rewards.load("rank_vote", rewards=[Channel(0), Channel(1)])
    expected = reward.score(pictures, "a cat")
    assert expected.tolist() == pytest.approx([4 / 8, 4 / 8, 2 / 8, 4 / 8, 6 / 8])
    assert torch.equal(reward.score(pictures, "a cat", batch_size=2), expected)


def test_a_mistake_is_a_sentence():
    with pytest.raises(UserError, match=r"unknown key 'rewards\[0\].weight'"):
        rewards.load("rank_vote", rewards=[{"name": "oracle", "weight": 2}])
    with pytest.raises(UserError, match=r"rewards\[0\].name: unknown name 'oracel'"):
        rewards.load("rank_vote", rewards=["oracel"])
