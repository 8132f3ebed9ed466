"""The variants of Diffusion-DPO: numbers by hand, published forms, soft labels, targets from scores, timesteps weighted, extremes."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mmalign import objectives
from mmalign.objective import check_fit
from mmalign.objectives.diffusion_dpo import DiffusionDPO
from mmalign.objectives.diffusion_hinge import DiffusionHinge, hinge_loss
from mmalign.objectives.diffusion_ipo import DiffusionIPO, ipo_loss
from mmalign.objectives.diffusion_robust_dpo import DiffusionRobustDPO, robust_dpo_loss
from mmalign.objectives.dpo import DPO, agreement, cross_entropy, dpo_loss
from mmalign.policy import Labels
from tests.objectives.policies import Denoising

VARIANTS = {
    "diffusion_dpo": DiffusionDPO,
    "diffusion_ipo": DiffusionIPO,
    "diffusion_hinge": DiffusionHinge,
    "diffusion_robust_dpo": DiffusionRobustDPO,
}
LOSSES = [cross_entropy, ipo_loss, hinge_loss, lambda z, p: robust_dpo_loss(z, 0.1, p)]
numbers, shares = st.floats(-50, 50, allow_nan=False), st.floats(0, 1)


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS)
def variant(request):
    return request.param


def policies(rows=5, **more):
    """Random errors, and a policy that answers with them."""
    draws = torch.Generator().manual_seed(0)
    errors = torch.rand(rows, 2, dtype=torch.float64, generator=draws).requires_grad_()
    ref_errors = torch.rand(rows, 2, dtype=torch.float64, generator=draws)
    return errors, ref_errors, Denoising(errors, ref_errors, **more)


def labels(preferences, scores=None):
    ranks = torch.arange(2).expand(len(preferences), 2)
    return Labels(preferences, ranks, scores)


# ---- derived numbers and published forms


def test_numbers_by_hand():
    # log(1 + e^-2) = 0.126928
    assert cross_entropy(double(2.0), 1.0).item() == pytest.approx(0.126928, abs=1e-6)
    # the second logarithm is 2 larger, since log sigma(z) - log sigma(-z) = z: 0.126928 + 0.3 * 2
    assert cross_entropy(double(2.0), 0.7).item() == pytest.approx(0.726928, abs=1e-6)
    assert ipo_loss(double(2.0)).item() == 1.5**2
    assert hinge_loss(double(0.4), 0.75).item() == pytest.approx(0.75 * 0.6 + 0.25 * 1.4)
    # 0.126928 - 0.1 * 2 / 0.8
    assert robust_dpo_loss(double(2.0), 0.1).item() == pytest.approx(-0.123072, abs=1e-6)


def test_ipo_is_the_published_square_times_beta_squared():
    margin, beta = torch.randn(6, dtype=torch.float64), 20.0
    torch.testing.assert_close(ipo_loss(beta * margin), beta**2 * (margin - 1 / (2 * beta)) ** 2)


def test_ipo_and_hinge_of_diffusers_are_ours_at_a_beta_for_half_the_errors():
    """Its logits are ref_diff - model_diff of whole errors: (logits - 1 / (2 b))^2 and relu(1 - b logits); our beta is 2 b."""
    errors, ref_errors, policy = policies()
    theirs = (ref_errors[:, 0] - ref_errors[:, 1]) - (errors[:, 0] - errors[:, 1])
    b = 3.0
    torch.testing.assert_close(DiffusionHinge(beta=2 * b)(policy, None).loss, F.relu(1 - b * theirs))
    torch.testing.assert_close(DiffusionIPO(beta=2 * b)(policy, None).loss, b**2 * (theirs - 1 / (2 * b)) ** 2)


@given(numbers, st.floats(0, 0.45))
def test_robust_is_unbiased_under_flips(logit, flipped):
    """The mean over labels that are flipped with that probability is the loss of the right label."""
    z = double(logit)
    mean = (1 - flipped) * robust_dpo_loss(z, flipped) + flipped * robust_dpo_loss(z, flipped, 0.0)
    torch.testing.assert_close(mean, -F.logsigmoid(z), atol=1e-9, rtol=1e-9)


@given(numbers)
def test_sure_labels_give_the_published_losses(logit):
    z = double([logit])
    torch.testing.assert_close(cross_entropy(z, 1.0), -F.logsigmoid(z))
    torch.testing.assert_close(robust_dpo_loss(z, 0.0), -F.logsigmoid(z))
    torch.testing.assert_close(robust_dpo_loss(z, 0.2), -(0.8 * F.logsigmoid(z) - 0.2 * F.logsigmoid(-z)) / 0.6)
    torch.testing.assert_close(hinge_loss(z), F.relu(1 - z))


# ---- soft labels


@given(numbers, shares)
def test_swapping_pair_and_label_changes_nothing(logit, share):
    z = double([logit])
    for loss in LOSSES:
        torch.testing.assert_close(loss(z, share), loss(-z, 1 - share), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("share", [0.55, 0.7, 0.9])
def test_the_minimum_of_a_soft_label_is_where_it_should_be(share):
    """Of the cross entropy at the label's logit, of IPO at p - 1/2; the robust one undoes flips first."""
    grid = torch.linspace(-4, 4, 8001, dtype=torch.float64)
    assert grid[cross_entropy(grid, share).argmin()].item() == pytest.approx(math.log(share / (1 - share)), abs=1e-3)
    assert grid[ipo_loss(grid, share).argmin()].item() == pytest.approx(share - 0.5, abs=1e-3)
    clean = (share - 0.05) / 0.9
    assert grid[robust_dpo_loss(grid, 0.05, share).argmin()].item() == pytest.approx(math.log(clean / (1 - clean)), abs=1e-3)


def test_a_tie_draws_the_margin_back_to_that_of_the_reference(variant):
    errors, ref_errors, _ = policies()
    objective = variant(beta=3.0)
    at_reference = ref_errors.clone().requires_grad_()
    loss = objective(Denoising(at_reference, ref_errors, labels(torch.full((5,), 0.5))), None).loss
    loss.sum().backward()
    torch.testing.assert_close(at_reference.grad, torch.zeros(5, 2, dtype=torch.float64))
    assert (objective(Denoising(errors, ref_errors, labels(torch.full((5,), 0.5))), None).loss >= loss - 1e-12).all()


def test_the_labels_of_the_batch_are_the_target(variant):
    preferences = double(1.0, 0.9, 0.7, 0.5, 0.6)
    errors, ref_errors, policy = policies(labels=labels(preferences))
    objective = variant(beta=4.0)
    logits = -2.0 * ((errors - ref_errors)[:, 0] - (errors - ref_errors)[:, 1])
    output = objective(policy, None)
    torch.testing.assert_close(output.loss, objective.loss(logits, preferences))
    torch.testing.assert_close(output.extras["rewards/accuracies"], agreement(output.implicit_rewards, preferences))


def test_conservative_and_soft_labels_meet():
    """A share s of wrong labels is a sure label of probability 1 - s."""
    logits = torch.randn(6, dtype=torch.float64)
    smoothed = DiffusionDPO(label_smoothing=0.2).loss(logits, torch.ones(6))
    torch.testing.assert_close(smoothed, cross_entropy(logits, 0.8))
    torch.testing.assert_close(smoothed, dpo_loss(logits, torch.zeros(6, dtype=torch.float64), 1.0, 0.2))
    torch.testing.assert_close(DPO(label_smoothing=0.2).loss(logits, torch.ones(6)), smoothed)
    both = DiffusionDPO(label_smoothing=0.2).loss(logits, torch.full((6,), 0.75))
    torch.testing.assert_close(both, cross_entropy(logits, 0.75 * 0.8 + 0.25 * 0.2), check_dtype=False, rtol=1e-6, atol=1e-6)


def test_a_gap_of_scores_is_turned_into_the_target(variant):
    scores = double([3.0, 1.0], [1.0, 1.0], [0.0, 2.0], [5.0, -5.0], [1.0, 0.5])
    errors, ref_errors, policy = policies(labels=labels(torch.ones(5), scores))
    target = 1 / (1 + torch.exp(-(scores[:, 0] - scores[:, 1]) / 2))
    by_gap = variant(beta=4.0, score_temperature=2.0)(policy, None).loss
    by_label = variant(beta=4.0)(Denoising(errors, ref_errors, labels(target)), None).loss
    torch.testing.assert_close(by_gap, by_label)


def test_rows_without_scores_are_complained_of_where_scores_are_asked_for(variant):
    for scores in (None, (1.0, math.nan)):
        assert "score_temperature" in variant(score_temperature=1.0).complaint(scores)
        assert variant().complaint(scores) == ""
    assert variant(score_temperature=1.0).complaint((2.0, 1.0)) == ""


# ---- the reference, timesteps, extremes


def test_the_start_is_the_loss_of_no_change(variant):
    _, ref_errors, _ = policies()
    output = variant()(Denoising(ref_errors, ref_errors), None)
    assert torch.equal(output.loss, variant().loss(torch.zeros(5, dtype=torch.float64), torch.ones(5)))
    assert torch.equal(output.implicit_rewards, torch.zeros(5, 2, dtype=torch.float64))


def test_gradients_reach_the_policy_and_not_the_reference(variant):
    errors, ref_errors, _ = policies()
    ref_errors = ref_errors.requires_grad_()
    variant(beta=2.0)(Denoising(errors, ref_errors), None).loss.sum().backward()
    assert ref_errors.grad is None
    assert (errors.grad[:, 0] == -errors.grad[:, 1]).all()


def test_weighted_timesteps_multiply_beta(variant):
    weights = double(1.0, 0.25, 0.0, 0.81, 0.5)
    errors, ref_errors, policy = policies(noise_weights=weights)
    weighted, plain = variant(beta=4.0, time_weighting=True)(policy, None), variant(beta=4.0)(policy, None)
    torch.testing.assert_close(weighted.implicit_rewards, plain.implicit_rewards * weights[:, None])
    for row, weight in enumerate(weights.tolist()):
        if weight:
            alone = variant(beta=4.0 * weight)(Denoising(errors[row : row + 1], ref_errors[row : row + 1]), None)
            torch.testing.assert_close(weighted.loss[row : row + 1], alone.loss)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("share", [0.5, 0.7, 1.0])
def test_gradcheck(loss, share):
    z = double(-2.0, -0.3, 0.4, 1.7, 3.0).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: loss(z, share), (z,))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("share", [0.5, 0.7, 1.0])
def test_extreme_margins_stay_finite(loss, share):
    z = torch.tensor([-1e18, -1e4, 0.0, 1e4, 1e18], requires_grad=True)
    values = loss(z, torch.full((5,), share))
    values.sum().backward()
    assert torch.isfinite(values).all()
    assert torch.isfinite(z.grad).all()


def test_names_defaults_and_what_they_read(variant):
    name = next(name for name, kind in VARIANTS.items() if kind is variant)
    objective = objectives.load(name)
    assert isinstance(objective, variant)
    assert objective.beta == 2000
    assert not objective.time_weighting
    assert objective.reads == "probabilities"
    assert objective.needs_reference
    check_fit(objective, policies()[2])


@pytest.mark.parametrize(
    ("name", "fields"),
    [(name, {"beta": 0}) for name in VARIANTS]
    + [
        ("diffusion_robust_dpo", {"flipped": 0.5}),
        ("diffusion_dpo", {"label_smoothing": 0.5}),
        ("diffusion_ipo", {"score_temperature": 0}),
    ],
)
def test_fields_out_of_range_are_refused(name, fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        VARIANTS[name](**fields)
