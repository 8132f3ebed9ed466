"""RankDPO: the published weights, sums by hand, what it is for pairs, lists of different lengths, ties, and how often it asks."""

import math
import re
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmalign import objectives
from mmalign.objectives.dpo import dpo_loss
from mmalign.objectives.rankdpo import RankDPO, pair_accuracy, pair_weights, rankdpo_loss, votes
from tests.objectives.denoisers import Fixed, double

shares = st.integers(2, 6).flatmap(lambda k: st.lists(st.floats(0, 1), min_size=k, max_size=k)).map(lambda s: sorted(s, reverse=True))
NAN = float("nan")


def weight(scores, i, j):
    """Of one pair, places from 0."""
    gain = abs(2 ** scores[i] - 2 ** scores[j])
    return gain * abs(1 / math.log(2 + i) - 1 / math.log(2 + j))


def test_the_weights_of_four_votes_are_those_worked_out_from_the_paper():
    weights = pair_weights(double([1, 2 / 3, 1 / 3, 0]))[0]
    expected = {(0, 1): 0.220, (0, 2): 0.534, (0, 3): 0.821, (1, 2): 0.062, (1, 3): 0.170, (2, 3): 0.026}
    for (i, j), value in expected.items():
        assert weights[i, j].item() == pytest.approx(value, abs=6e-4)
        assert weights[j, i] == 0
    assert weights.sum().item() == pytest.approx(1.83, abs=5e-3)


@settings(deadline=None)
@given(shares, st.randoms())
def test_it_is_the_weighted_sum_over_ordered_pairs(scores, random):
    ratios = [random.uniform(-2, 2) for _ in scores]
    loss = rankdpo_loss(double(ratios), double([0] * len(scores)), double(scores), beta=1.3)
    pairs = list(combinations(range(len(scores)), 2))
    expected = sum(weight(scores, i, j) * math.log1p(math.exp(-1.3 * (ratios[i] - ratios[j]))) for i, j in pairs)
    assert loss.item() == pytest.approx(expected, abs=1e-9)


def test_a_number_derived_by_hand():
    # scores 1, 1/2, 0: weights (2 - 1.4142)(1.4427 - 0.9102), 1 (1.4427 - 0.7213), (1.4142 - 1)(0.9102 - 0.7213);
    # at the reference every pair costs log 2, so the sum is log 2 times (0.31193 + 0.72135 + 0.07824)
    loss = rankdpo_loss(torch.zeros(1, 3), torch.zeros(1, 3), torch.tensor([[1.0, 0.5, 0.0]]), beta=5000.0)
    assert loss.item() == pytest.approx(math.log(2) * 1.11152, abs=1e-4)


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.floats(-5, 5), st.floats(0.1, 5))
def test_of_two_it_is_dpo_weighted_by_the_gain(first, second, margin, beta):
    best, worst = max(first, second), min(first, second)
    logps, ref = double([margin, 0.3]), double([0.1, -0.2])
    loss = rankdpo_loss(logps, ref, double([best, worst]), beta)
    plain = dpo_loss(logps[:, 0] - logps[:, 1], ref[:, 0] - ref[:, 1], beta)
    # 1/ln 2 - 1/ln 3 = 0.53246
    torch.testing.assert_close(loss, (2**best - 2**worst) * (1 / math.log(2) - 1 / math.log(3)) * plain)


def test_normalized_it_is_plain_dpo_for_pairs_and_log_two_at_the_reference_for_lists():
    logps, ref = torch.randn(5, 2, dtype=torch.float64), torch.randn(5, 2, dtype=torch.float64)
    loss = rankdpo_loss(logps, ref, double([0.9, 0.2]).expand(5, 2), 2.0, normalize=True)
    torch.testing.assert_close(loss, dpo_loss(logps[:, 0] - logps[:, 1], ref[:, 0] - ref[:, 1], 2.0))
    at_start = rankdpo_loss(torch.zeros(1, 4), torch.zeros(1, 4), torch.tensor([[1.0, 0.7, 0.3, 0.0]]), 5000.0, normalize=True)
    torch.testing.assert_close(at_start, torch.tensor([math.log(2)]))


def test_the_weights_are_constant_in_what_is_trained():
    scores = double([1, 0.5, 0]).requires_grad_()
    logps = torch.randn(1, 3, dtype=torch.float64, requires_grad=True)
    rankdpo_loss(logps, torch.zeros_like(logps), scores, 1.0, normalize=True).sum().backward()
    assert scores.grad is None
    assert logps.grad.abs().sum() > 0


@settings(deadline=None)
@given(shares, st.integers(1, 3), st.booleans())
def test_padding_changes_neither_loss_nor_gradient(scores, padding, normalize):
    count = len(scores)
    logps, ref = torch.randn(1, count, dtype=torch.float64, requires_grad=True), torch.randn(1, count, dtype=torch.float64)
    alone = rankdpo_loss(logps, ref, double(scores), 1.5, normalize)
    (expected,) = torch.autograd.grad(alone.sum(), logps)
    longer = torch.cat([logps.detach(), torch.full((1, padding), 1e30, dtype=torch.float64)], 1).requires_grad_()
    padded = rankdpo_loss(longer, torch.nn.functional.pad(ref, (0, padding)), double([*scores, *[NAN] * padding]), 1.5, normalize)
    (gradient,) = torch.autograd.grad(padded.sum(), longer)
    torch.testing.assert_close(padded, alone)
    torch.testing.assert_close(gradient[:, :count], expected)
    assert not gradient[:, count:].any()


@pytest.mark.parametrize("normalize", [False, True])
def test_equal_scores_weigh_nothing(normalize):
    logps = torch.randn(1, 3, requires_grad=True)
    loss = rankdpo_loss(logps, torch.zeros(1, 3), torch.full((1, 3), 0.5), 10.0, normalize)
    loss.sum().backward()
    assert loss.item() == 0
    assert not logps.grad.any()
    # the two in the middle are tied: only how each stands to the others counts
    weights = pair_weights(torch.tensor([[1.0, 0.5, 0.5, 0.0]]))[0]
    assert weights[1, 2] == 0
    assert (weights[0, 1:] > 0).all()


@pytest.mark.parametrize("normalize", [False, True])
def test_gradcheck(normalize):
    logps, ref = torch.randn(3, 4, dtype=torch.float64, requires_grad=True), torch.randn(3, 4, dtype=torch.float64)
    scores = double([1, 0.6, 0.3, 0], [0.8, 0.8, 0.1, NAN], [0.9, 0.2, NAN, NAN])
    assert torch.autograd.gradcheck(lambda x: rankdpo_loss(x, ref, scores, 1.7, normalize), (logps,))


@pytest.mark.parametrize("normalize", [False, True])
def test_extremes_stay_finite(normalize):
    logps = torch.tensor([[-1e30, 0.0, 1e30], [1e30, 0.0, -1e30], [1e30, -1e30, 0.0]], requires_grad=True)
    scores = torch.tensor([[1.0, 0.5, 0.0], [1.0, 0.5, 0.0], [0.5, 0.5, 0.5]])
    loss = rankdpo_loss(logps, torch.zeros(3, 3), scores, 1.0, normalize)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(logps.grad).all()


def test_shapes_that_differ_are_named():
    with pytest.raises(ValueError, match=r"\(2, 3\), \(2, 3\), \(2, 4\)"):
        rankdpo_loss(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2, 4), 1.0)


def test_one_voter_gives_each_the_share_that_it_beats():
    scores = torch.tensor([[9.0, 5.0, 5.0, 1.0], [3.0, 2.0, NAN, NAN], [7.0, NAN, NAN, NAN]])
    expected = torch.tensor([[1.0, 1 / 3, 1 / 3, 0.0], [1.0, 0.0, NAN, NAN], [0.0, NAN, NAN, NAN]])
    torch.testing.assert_close(votes(scores), expected, equal_nan=True)


def test_accuracy_is_over_pairs_with_different_scores():
    ratios = torch.tensor([[3.0, 1.0, 2.0], [0.0, 0.0, NAN], [1.0, 2.0, 3.0]])
    scores = torch.tensor([[1.0, 0.5, 0.0], [1.0, 0.5, NAN], [0.5, 0.5, 0.5]])
    assert pair_accuracy(ratios, scores).tolist() == [pytest.approx(2 / 3), 0.0, 0.5]
    assert pair_accuracy(ratios, scores, tie=0.5).tolist() == [pytest.approx(2 / 3), 0.5, 0.5]


def test_the_objective_asks_once_of_each_and_gives_the_loss_of_half_the_errors():
    errors, ref = torch.rand(2, 4, dtype=torch.float64, requires_grad=True), torch.rand(2, 4, dtype=torch.float64, requires_grad=True)
    scores = double([1, 2 / 3, 1 / 3, 0], [1, 0.5, 0, NAN])
    policy = Fixed(errors, ref, scores)
    output = RankDPO(beta=7.0)(policy, None)
    torch.testing.assert_close(output.loss, rankdpo_loss(-0.5 * errors, -0.5 * ref.detach(), scores, 7.0))
    output.loss.sum().backward()
    assert policy.asked == {"policy": 1, "reference": 1}
    assert ref.grad is None
    expected = (-3.5 * (errors - ref)).detach()
    expected[1, 3] = NAN
    torch.testing.assert_close(output.implicit_rewards, expected, equal_nan=True)
    assert not output.implicit_rewards.requires_grad
    assert output.extras["weights"].tolist() == pytest.approx(pair_weights(scores).sum((1, 2)).tolist())


def test_gains_of_the_order_take_any_scores():
    errors, ref = torch.rand(1, 3), torch.rand(1, 3)
    raw = RankDPO(beta=7.0, gains="order")(Fixed(errors, ref, torch.tensor([[22.0, 19.5, -3.0]])), None)
    given = RankDPO(beta=7.0)(Fixed(errors, ref, torch.tensor([[1.0, 0.5, 0.0]])), None)
    torch.testing.assert_close(raw.loss, given.loss)


@pytest.mark.parametrize(
    ("fields", "scores", "said"),
    [
        ({}, None, "no score"),
        ({}, (1.0, NAN), "no score"),
        ({}, (0.2, 0.9), "not in the order"),
        ({}, (22.0, 19.5), "reach 22.*method.gains order"),
        ({}, (0.5, -3.0), "reach -3"),
        ({"gains": "order"}, (22.0, -3.0), ""),
        ({}, (1.0, 0.5, 0.5, 0.0), ""),
    ],
)
def test_scores_that_it_cannot_use_are_complained_of(fields, scores, said):
    complaint = RankDPO(**fields).complaint(scores)
    assert re.search(said, complaint)
    assert bool(complaint) == bool(said)


@pytest.mark.parametrize("fields", [{"beta": 0}, {"gains": "raw"}])
def test_fields_out_of_range_are_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        objectives.load("rankdpo", **fields)
