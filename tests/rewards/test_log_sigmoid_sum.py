import math

import pytest

from mmalign import rewards
from mmalign.errors import UserError
from tests.rewards.members import Channel, Darkness, Listed, plain

PICTURES = plain((0.5, 0.25, 0.0), (1.0, 0.75, 0.5))


def log_sigmoid(*entries):
    return rewards.load("log_sigmoid_sum", rewards=list(entries))


def test_the_logarithm_of_the_probability_of_being_good_by_all():
    # odds of 3 and of 1/3 are probabilities of 3/4 and 1/4
    score = math.log(3)
    reward = log_sigmoid({"reward": Listed([score, -score]), "shift": 0.0}, {"reward": Listed([5.0, 5.0]), "shift": 5.0})
    assert reward.score(PICTURES).tolist() == pytest.approx([math.log(3 / 4 * 1 / 2), math.log(1 / 4 * 1 / 2)])


def test_shift_scale_and_weight():
    # (1 - 0.5) / 0.25 = 2 and (0.5 - 0.5) / 0.25 = 0
    reward = log_sigmoid({"reward": Channel(0), "shift": 0.5, "scale": 0.25, "weight": 3.0})
    assert reward.score(PICTURES).tolist() == pytest.approx([3 * math.log(0.5), -3 * math.log1p(math.exp(-2))])
    assert reward.range == pytest.approx((-3 * math.log1p(math.exp(2)), -3 * math.log1p(math.exp(-2))))


def test_no_reward_outweighs_the_others_by_being_large():
    one = {"reward": Listed([0.0, 1000.0]), "shift": 0.0}
    other = {"reward": Listed([0.0, -5.0]), "shift": 0.0}
    balanced, lopsided = log_sigmoid(one, other).score(PICTURES).tolist()
    assert balanced == pytest.approx(2 * math.log(0.5))
    assert lopsided == pytest.approx(-math.log1p(math.exp(5)))
    assert lopsided < balanced


def test_what_is_good_enough_has_little_gradient():
    pixels = PICTURES.clone().requires_grad_()
    log_sigmoid({"reward": Channel(0), "shift": 0.75, "scale": 0.05}).score(pixels, differentiable=True).sum().backward()
    # the derivative of log sigmoid is the probability of not being good
    low, high = (pixels.grad[:, 0].sum((-1, -2)) * 0.05).tolist()
    assert (low, high) == pytest.approx((1 / (1 + math.exp(-5)), 1 / (1 + math.exp(5))), rel=1e-4)


def test_scores_far_below_stay_finite():
    assert log_sigmoid({"reward": Listed([-1e4, 1e4]), "shift": 0.0}).score(PICTURES).tolist() == [-1e4, 0.0]


def test_less_is_better_needs_a_negative_scale():
    reward = log_sigmoid({"reward": Darkness(), "shift": 0.5, "scale": -0.25})
    assert reward.score(PICTURES).tolist() == pytest.approx([math.log(0.5), -math.log1p(math.exp(2))])
    with pytest.raises(UserError, match="negative scale"):
        log_sigmoid({"reward": Darkness(), "shift": 0.5})


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, r"the key 'rewards\[0\].shift' is missing"),
        ({"shift": 0, "scale": 0}, r"rewards\[0\].scale: scale is 0"),
        ({"shift": 0, "weight": -1}, r"rewards\[0\].weight is -1, it should be greater than 0"),
        ({"shift": 0, "mean": 1}, r"unknown key 'rewards\[0\].mean'"),
    ],
)
def test_a_mistake_is_a_sentence(keys, said):
    with pytest.raises(UserError, match=said):
        log_sigmoid({"name": "colorfulness", **keys})
