import pytest
import torch

from mmalign import rewards
from mmalign.errors import UserError
from tests.rewards.members import Channel, Darkness, Letters, plain

PICTURES = plain((0.5, 0.25, 0.0), (1.0, 0.75, 0.5))


def weighted(*entries):
    return rewards.load("weighted_sum", rewards=list(entries))


def test_the_sum_of_weight_times_score_computed_by_hand():
    reward = weighted({"reward": Channel(0), "weight": 2.0}, {"reward": Channel(1), "weight": -4.0}, Letters())
    # 2 * 0.5 - 4 * 0.25 + 3 letters; 2 * 1 - 4 * 0.75 + 4 letters
    assert reward.score(PICTURES, ["cat", "bird"]).tolist() == [3.0, 3.0]


def test_a_sum_in_a_sum_is_a_sum():
    inner = weighted({"reward": Channel(0), "weight": 2.0}, Channel(1))
    # the inner sums are 1.25 and 2.75
    assert weighted({"reward": inner, "weight": 3.0}, Channel(2)).score(PICTURES).tolist() == [3.75, 8.75]


def test_gradients_go_through_the_sum_with_the_weights():
    pixels = PICTURES.clone().requires_grad_()
    weighted({"reward": Channel(0), "weight": 2.0}, Channel(1)).score(pixels, differentiable=True).sum().backward()
    assert pixels.grad[:, :, 0, 0].tolist() == [[2 / 16, 1 / 16, 0.0]] * 2


def test_its_facts_are_those_of_its_members():
    free, bound = weighted(Channel(), {"reward": Channel(), "weight": -3.0}), weighted(Channel(), Letters())
    assert (free.needs_prompt, free.differentiable, free.joint, free.range) == (False, True, False, (-3.0, 1.0))
    assert (bound.needs_prompt, bound.differentiable, bound.range) == (True, False, (0.0, float("inf")))
    assert free.unit == "1 (brightness) + -3 (brightness)"
    assert free.licence == "Apache-2.0"
    with pytest.raises(ValueError, match="prompts"):
        bound.score(PICTURES)
    with pytest.raises(ValueError, match="no gradients"):
        bound.score(PICTURES, "cat", differentiable=True)


def test_a_vote_among_its_members_makes_it_joint():
    vote = rewards.load("rank_vote", rewards=[Channel(0)])
    reward = weighted(vote, {"reward": Channel(2), "weight": 10.0})
    assert (reward.joint, reward.needs_prompt, reward.differentiable) == (True, True, False)
    assert reward.score(PICTURES, "cat").tolist() == [0.0 + 0.0, 1.0 + 5.0]


def test_less_is_better_needs_a_negative_weight():
    assert weighted({"reward": Darkness(), "weight": -1.0}).score(PICTURES).tolist() == [-0.5, -1.0]
    with pytest.raises(UserError, match=r"rewards\[1\] \(Darkness\) is the better the lower it is; give it a negative weight"):
        weighted(Channel(), Darkness())


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (["tast"], r"reward 'weighted_sum': rewards\[0\].name: unknown name 'tast' among rewards; did you mean 'taste'"),
        ([{"name": "taste", "usr": "thin"}], r"unknown key 'rewards\[0\].usr'; did you mean 'user'"),
        ([{"name": "taste", "wieght": 2}], r"unknown key 'rewards\[0\].wieght'; did you mean 'weight'"),
        ([{"name": "taste", "weight": "much"}], r"rewards\[0\].weight is 'much', it should be a valid number"),
        ([{"name": "taste", "weight": True}], r"rewards\[0\].weight is True, it should be a number"),
        ([{"name": "taste", "weight": 0}], r"rewards\[0\].weight: weight is 0; leave the reward out"),
        ([{"reward": Channel(), "wieght": 2}], r"unknown key 'rewards\[0\].wieght'; did you mean 'weight'"),
        (["oracle", {"weight": 2}], r"the key 'rewards\[1\].name' is missing"),
        (["oracle", 3], r"rewards\[1\] is 3, it should be a name"),
        ([], "rewards is"),
        ("oracle", "rewards is 'oracle', it should be a valid list"),
    ],
)
def test_a_mistake_in_an_entry_is_a_sentence_with_its_path(entries, said):
    with pytest.raises(UserError, match=said) as caught:
        rewards.load("weighted_sum", rewards=entries)
    assert "\n" not in str(caught.value)


def test_a_member_of_two_sums_scores_once():
    member = Channel()
    reward = weighted(weighted(member, {"reward": member, "weight": 2.0}), member)
    assert reward.score(PICTURES).tolist() == [2.0, 4.0]
    assert member.calls == 1


def test_no_image_has_no_score():
    assert torch.equal(weighted(Channel()).score([], []), torch.zeros(0))
