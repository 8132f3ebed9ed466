"""What every method says of its candidates' errors, for the log and its guard: once, from the forwards that it makes anyway."""

import math

import pytest
import torch

from mmalign import objectives
from mmalign.objective import LossOutput, saturated
from mmalign.training.metrics import step_metrics
from tests.objectives.denoisers import Fixed, double

NAN = math.nan
OURS = torch.linspace(-1, 1, 24, dtype=torch.float64).view(3, 2, 4)
THEIRS = OURS.flip(0) * 0.5
PAIRED = ["diffusion_dpo", "diffusion_hinge", "diffusion_ipo", "diffusion_robust_dpo", "dspo", "linear_dpo", "rankdpo", "sdpo", "seppo"]
ALONE = ["mapo", "mapo_paper", "diffusion_simpo"]


def mean_squares(residuals):
    return residuals.square().mean(-1)


@pytest.mark.parametrize("name", PAIRED)
def test_with_a_reference_the_errors_of_both_are_logged_apart(name):
    policy = Fixed(OURS, THEIRS, double(*[[1.0, 0.0]] * 3))
    metrics = step_metrics(objectives.load(name)(policy, None), torch.ones(3), denoising=True)
    for place, side in enumerate(("chosen", "rejected")):
        assert metrics[f"errors/{side}"].item() == pytest.approx(mean_squares(OURS)[:, place].mean().item(), rel=1e-6)
        assert metrics[f"ref_errors/{side}"].item() == pytest.approx(mean_squares(THEIRS)[:, place].mean().item(), rel=1e-6)
    assert "saturated" in metrics
    assert policy.asked == {"policy": 1, "reference": 1}
    assert not any(value.requires_grad for value in metrics.values())


@pytest.mark.parametrize("name", ALONE)
def test_without_one_the_policys_own(name):
    policy = Fixed(OURS)
    metrics = step_metrics(objectives.load(name)(policy, None), torch.ones(3), denoising=True)
    assert metrics["errors/chosen"].item() == pytest.approx(mean_squares(OURS)[:, 0].mean().item(), rel=1e-6)
    assert metrics["errors/rejected"].item() == pytest.approx(mean_squares(OURS)[:, 1].mean().item(), rel=1e-6)
    assert not [key for key in metrics if key.startswith("ref_")]
    assert "saturated" in metrics


def test_of_lists_the_best_and_the_mean_of_the_others_whatever_their_lengths():
    errors, ref = double([1, 2, 3], [4, 5, 0]), double([1, 1, 1], [2, 3, 0])
    output = objectives.load("rankdpo", beta=1.0)(Fixed(errors, ref, double([1, 0.5, 0], [1, 0, NAN])), None)
    metrics = step_metrics(output, torch.ones(2), denoising=True)
    assert metrics["errors/chosen"].item() == 2.5
    assert metrics["errors/rejected"].item() == pytest.approx(10 / 3)
    assert metrics["ref_errors/rejected"].item() == pytest.approx(5 / 3)


def test_of_a_list_the_share_of_its_pairs_is_saturated():
    """Rewards of half of beta times the fall: 0, -5 and -6, and a tie of the first with one as good; -3 alone in the second list."""
    errors, scores = double([0, 10, 12, 0], [0, 6, 0, 0]), double([1, 0.5, 0, 0], [1, 0, NAN, NAN])
    output = objectives.load("rankdpo", beta=1.0)(Fixed(errors, torch.zeros_like(errors), scores), None)
    assert output.extras["saturated"].tolist() == pytest.approx([(1 + 1 + 0 + 0 + 1) / 5, 0])


@pytest.mark.parametrize(("labels", "chosen", "rejected"), [([1, 0, 1], (2.0, 1.5), (3.0, 1.0)), ([0, 0, 0], (0.0, 0.0), (7 / 3, 4 / 3))])
def test_of_single_pictures_the_liked_and_the_others(labels, chosen, rejected):
    """Errors 1, 3, 3 over the reference's 2, 1, 1; where nothing is liked, both of the liked are 0."""
    labels = double(*([label] for label in labels))
    output = objectives.load("diffusion_kto", beta=1.0)(Fixed(double([1], [3], [3]), double([2], [1], [1]), labels), None)
    metrics = step_metrics(output, torch.ones(3), denoising=True)
    for side, (mine, theirs) in {"chosen": chosen, "rejected": rejected}.items():
        assert metrics[f"errors/{side}"].item() == pytest.approx(mine)
        assert metrics[f"ref_errors/{side}"].item() == pytest.approx(theirs)
        assert metrics[f"rewards/{side}"].item() == pytest.approx((theirs - mine) / 2)


def test_other_models_have_log_likelihoods_and_no_errors():
    output = LossOutput(torch.ones(2), torch.zeros(2, 2), logps=-torch.ones(2, 2), ref_logps=-torch.ones(2, 2))
    metrics = step_metrics(output, torch.ones(2))
    assert {key for key in metrics if "logps" in key or "errors" in key} == {"logps/chosen", "logps/rejected"}


def test_a_sigmoid_is_flat_beyond_four_either_way():
    """There it is within 2 % of 0 or 1."""
    assert saturated(torch.tensor([-4.1, -3.9, 0.0, 3.9, 4.1])).tolist() == [1, 0, 0, 0, 1]
    assert torch.sigmoid(torch.tensor(-4.0)) < 0.02
