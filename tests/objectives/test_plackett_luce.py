"""The list-wise loss against the probability of the ranking taken step by step, its value for pairs and ties, and its limits."""

import math
from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmalign import objectives
from mmalign.objective import check_fit
from mmalign.objectives.plackett_luce import PlackettLuce, neighbor_agreement, plackett_luce_loss
from mmalign.objectives.soft_pair import soft_pair_loss
from tests.objectives.scorers import Fixed

scores = st.floats(-20, 20, allow_nan=False)
lists = st.integers(2, 5).flatmap(lambda k: st.tuples(st.lists(scores, min_size=k, max_size=k), st.permutations(range(k))))


def log_probability(logits, order):
    """Of drawing the candidates in this order, each from those that are left."""
    total, left = 0.0, list(order)
    while left:
        weights = [math.exp(logits[k]) for k in left]
        total += math.log(math.exp(logits[left[0]]) / sum(weights))
        left.pop(0)
    return total


@given(lists)
def test_it_is_the_log_probability_of_the_ranking(drawn):
    logits, ranks = drawn
    order = sorted(range(len(ranks)), key=lambda k: ranks[k])
    loss = plackett_luce_loss(torch.tensor([logits], dtype=torch.float64), torch.tensor([list(ranks)]))
    assert loss.item() == pytest.approx(-log_probability(logits, order), abs=1e-9)


def test_all_rankings_together_have_probability_one():
    logits = torch.randn(4, dtype=torch.float64)
    ranks = torch.tensor(list(permutations(range(4))))
    assert torch.exp(-plackett_luce_loss(logits.expand(24, 4), ranks)).sum().item() == pytest.approx(1)


@given(scores, scores)
def test_of_two_it_is_the_loss_of_pairs(first, second):
    logits = torch.tensor([[first, second]], dtype=torch.float64)
    pair = soft_pair_loss(logits, torch.ones(1, dtype=torch.float64))
    torch.testing.assert_close(plackett_luce_loss(logits, torch.tensor([[0, 1]])), pair)


def test_a_tie_by_hand():
    # 1 best, 0 and 2 tied behind it: -log e^3/(e^1+e^3+e^2) - log e^1/(e^1+e^2) - log e^2/(e^1+e^2) - 2 log 2
    first, rest = math.exp(1) + math.exp(3) + math.exp(2), math.exp(1) + math.exp(2)
    expected = math.log(first) - 3 + 2 * math.log(rest) - 1 - 2 - 2 * math.log(2)
    loss = plackett_luce_loss(torch.tensor([[1.0, 3.0, 2.0]], dtype=torch.float64), torch.tensor([[1, 0, 1]]))
    assert loss.item() == pytest.approx(expected)


@given(scores, st.integers(2, 6))
def test_equal_logits_lose_nothing_where_all_are_tied(score, count):
    loss = plackett_luce_loss(torch.full((1, count), score, dtype=torch.float64), torch.zeros(1, count, dtype=torch.long))
    assert loss.item() == pytest.approx(0, abs=1e-9)


def test_ties_pull_together_and_the_infimum_is_zero():
    ranks = torch.tensor([[0, 0, 1, 1, 1]])
    far = torch.tensor([[80.0, 80.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    assert plackett_luce_loss(far, ranks).item() == pytest.approx(0, abs=1e-12)
    apart = far + torch.tensor([[0.5, -0.5, 0.0, 0.0, 0.0]])
    apart.requires_grad_()
    plackett_luce_loss(apart, ranks).sum().backward()
    assert apart.grad[0, 0] > 0 > apart.grad[0, 1]


@given(lists, st.randoms())
def test_the_order_of_the_candidates_plays_no_part(drawn, random):
    logits, ranks = drawn
    order = random.sample(range(len(ranks)), len(ranks))
    loss = plackett_luce_loss(torch.tensor([logits], dtype=torch.float64), torch.tensor([list(ranks)]))
    shuffled = plackett_luce_loss(torch.tensor([logits], dtype=torch.float64)[:, order], torch.tensor([list(ranks)])[:, order])
    torch.testing.assert_close(loss, shuffled)


def test_gradcheck():
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    ranks = torch.tensor([[0, 1, 2, 3], [0, 0, 1, 1], [2, 1, 0, 2]])
    assert torch.autograd.gradcheck(lambda x: plackett_luce_loss(x, ranks), (logits,))


def test_extreme_logits_stay_finite():
    logits = torch.tensor([[1e30, 0.0, -1e30], [-1e30, 0.0, 1e30]], requires_grad=True)
    loss = plackett_luce_loss(logits, torch.tensor([[0, 1, 2], [0, 1, 1]]))
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(logits.grad).all()


def test_shapes_that_differ_are_named():
    with pytest.raises(ValueError, match=r"\(1, 3\).*\(1, 2\)"):
        plackett_luce_loss(torch.zeros(1, 3), torch.zeros(1, 2))


def test_agreement_is_over_neighbors_and_ties_count_half():
    logits = torch.tensor([[3.0, 2.0, 1.0], [1.0, 2.0, 0.0], [1.0, 2.0, 0.0]])
    assert neighbor_agreement(logits, torch.tensor([[0, 1, 2], [0, 1, 2], [0, 0, 1]])).tolist() == [1.0, 0.5, 0.75]


def test_the_objective_gives_its_loss_and_the_logits_as_rewards():
    objective = objectives.load("plackett_luce")
    assert isinstance(objective, PlackettLuce)
    assert 2 in objective.candidates
    assert 9 in objective.candidates
    assert 1 not in objective.candidates
    logits, ranks = torch.randn(3, 4, requires_grad=True), torch.tensor([[0, 1, 1, 2]] * 3)
    policy = Fixed(logits, ranks=ranks)
    check_fit(objective, policy)
    output = objective(policy, None)
    torch.testing.assert_close(output.loss, plackett_luce_loss(logits, ranks))
    torch.testing.assert_close(output.implicit_rewards, logits.detach())
