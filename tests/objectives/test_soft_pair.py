"""The losses of scorers on pairs: numbers derived by hand, the published sum of two cross entropies, invariants, extreme margins."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mmalign import objectives
from mmalign.objective import check_fit
from mmalign.objectives.soft_pair import SoftPair, agreement, soft_pair_loss
from mmalign.objectives.tied_pair import TiedPair, tied_pair_loss
from tests.objectives.scorers import Fixed

LOSSES = [soft_pair_loss, tied_pair_loss]
scores = st.floats(-50, 50, allow_nan=False)
shares = st.floats(0.5, 1)


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_a_soft_label_by_hand():
    # sigma(0.5) = 1 / (1 + e^-0.5)
    p = 1 / (1 + math.exp(-0.5))
    loss = soft_pair_loss(double([1.5, 1.0]), double(0.8))
    torch.testing.assert_close(loss, double(-0.8 * math.log(p) - 0.2 * math.log(1 - p)))


def test_a_certain_label_is_the_logistic_loss_of_the_margin():
    logits = torch.randn(6, 2, dtype=torch.float64)
    for loss in LOSSES:
        torch.testing.assert_close(loss(logits, torch.ones(6, dtype=torch.float64)), torch.log1p(torch.exp(logits[:, 1] - logits[:, 0])))


@given(st.lists(scores, min_size=2, max_size=2), st.sampled_from([(1.0, 0.0), (0.5, 0.5)]))
def test_it_is_the_published_sum_of_two_cross_entropies(pair, labels):
    """HPSv2's and PickScore's code: label_0 CE(logits, 0) + label_1 CE(logits, 1), and log 0.5 more for PickScore's ties."""
    logits = double(pair)
    entropies = [F.cross_entropy(logits, torch.tensor([index]), reduction="none") for index in (0, 1)]
    published = labels[0] * entropies[0] + labels[1] * entropies[1]
    torch.testing.assert_close(soft_pair_loss(logits, double(labels[0])), published)
    tie = math.log(0.5) if labels[0] == labels[1] else 0.0
    torch.testing.assert_close(tied_pair_loss(logits, double(labels[0])), published + tie)


@given(scores, shares)
def test_equal_logits_say_log_two_and_nothing_is_lost_on_a_tie(score, share):
    logits, preference = double([score, score]), double(share)
    torch.testing.assert_close(soft_pair_loss(logits, preference), double(math.log(2)))
    assert tied_pair_loss(logits, double(0.5)).item() == pytest.approx(0, abs=1e-12)


@given(scores, scores, shares)
def test_swapping_candidates_and_label_changes_nothing(first, second, share):
    for loss in LOSSES:
        there = loss(double([first, second]), double(share))
        back = loss(double([second, first]), double(1 - share))
        torch.testing.assert_close(there, back, atol=1e-9, rtol=1e-9)


@given(scores, scores, scores, shares)
def test_what_both_candidates_share_plays_no_part(first, second, shift, share):
    for loss in LOSSES:
        torch.testing.assert_close(
            loss(double([first, second]), double(share)), loss(double([first + shift, second + shift]), double(share)), atol=1e-8, rtol=1e-8
        )


@given(st.floats(0.05, 0.95))
def test_the_minimum_is_where_the_prediction_is_the_label(share):
    best = math.log(share / (1 - share))
    margins = torch.linspace(best - 1, best + 1, 21, dtype=torch.float64)
    logits = torch.stack([margins, torch.zeros_like(margins)], dim=-1)
    losses = tied_pair_loss(logits, torch.full((21,), share, dtype=torch.float64))
    assert losses.argmin() == 10
    assert losses.min().item() == pytest.approx(0, abs=1e-12)


def test_gradcheck_and_the_constant_has_no_gradient():
    logits = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    preferences = double(1.0, 0.5, 0.5, 0.7, 0.9)
    assert torch.autograd.gradcheck(lambda x: soft_pair_loss(x, preferences), (logits,))
    gradients = [torch.autograd.grad(loss(logits, preferences).sum(), logits)[0] for loss in LOSSES]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("share", [0.5, 0.7, 1.0])
def test_extreme_margins_stay_finite(loss, share):
    margins = torch.tensor([-1e30, -1e4, 0.0, 1e4, 1e30])
    logits = torch.stack([margins, torch.zeros(5)], dim=-1).requires_grad_()
    values = loss(logits, torch.full((5,), share))
    values.sum().backward()
    assert torch.isfinite(values).all()
    assert torch.isfinite(logits.grad).all()


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"\(B, 2\).*\(2, 3\)"):
        soft_pair_loss(torch.zeros(2, 3), torch.ones(2))
    with pytest.raises(ValueError, match=r"\(2, 2\).*\(3,\)"):
        soft_pair_loss(torch.zeros(2, 2), torch.ones(3))


def test_the_agreement_is_the_share_of_the_label_on_the_side_of_the_larger_logit():
    logits = torch.tensor([[2.0, 1.0], [1.0, 2.0], [2.0, 1.0], [1.0, 1.0]])
    assert agreement(logits, torch.tensor([1.0, 1.0, 0.5, 1.0])).tolist() == [1.0, 0.0, 0.5, 0.0]


@pytest.mark.parametrize(("name", "kind", "loss"), [("soft_pair", SoftPair, soft_pair_loss), ("tied_pair", TiedPair, tied_pair_loss)])
def test_an_objective_gives_its_loss_and_the_logits_as_rewards(name, kind, loss):
    objective = objectives.load(name)
    assert isinstance(objective, kind)
    logits, preferences = torch.randn(4, 2, requires_grad=True), torch.tensor([1.0, 0.5, 0.8, 1.0])
    policy = Fixed(logits, preferences)
    check_fit(objective, policy)
    output = objective(policy, None)
    torch.testing.assert_close(output.loss, loss(logits, preferences))
    torch.testing.assert_close(output.implicit_rewards, logits.detach())
    assert not output.implicit_rewards.requires_grad
    assert output.extras["rewards/accuracies"].shape == (4,)


def test_what_a_method_reads_and_how_it_weighs():
    assert SoftPair.reads == TiedPair.reads == "probabilities"
    assert TiedPair.normalized
    assert not SoftPair.normalized
