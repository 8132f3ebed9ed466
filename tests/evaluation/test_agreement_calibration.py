"""Temperature and calibration against closed forms."""

import numpy as np
import pytest

from mmalign.evaluation.agreement.calibration import calibration, fit_temperature
from mmalign.evaluation.agreement.pairs import all_pairs
from mmalign.evaluation.agreement.rankings import Ranking


def judged(*margins, human=(1, 0)):
    """Pairs whose preferred image scores higher by these."""
    return all_pairs([Ranking(str(k), human) for k in range(len(margins))], [(margin, 0.0) for margin in margins])


def test_the_temperature_of_one_size_of_difference_is_the_log_odds():
    """With differences of +-d alone, of which a share p is right, the best probability is p: d / T = log(p / (1 - p))."""
    found = judged(*[2.0] * 8, *[-2.0] * 2)
    assert fit_temperature(found) == pytest.approx(2 / np.log(0.8 / 0.2))


def test_the_temperature_has_no_slope_left():
    rng = np.random.default_rng(0)
    margins = rng.normal(0.7, 2, 400)
    slope = 1 / fit_temperature(judged(*margins))
    assert np.sum(margins / (1 + np.exp(slope * margins))) == pytest.approx(0, abs=1e-6)


def test_the_temperature_scales_with_the_unit():
    margins = np.random.default_rng(1).normal(0.5, 1, 200)
    assert fit_temperature(judged(*margins * 100)) == pytest.approx(100 * fit_temperature(judged(*margins)))


def test_a_scorer_that_is_no_better_than_chance_is_a_coin():
    found = judged(-1.0, -3.0, 2.0)
    assert fit_temperature(found) == np.inf
    made = calibration(found, np.inf, 3)
    assert (made.log_loss, made.brier) == (pytest.approx(np.log(2)), 0.25)
    assert [(row.pairs, row.confidence, row.right) for row in made.bins] == [(3, 0.5, 0.5)]


def test_a_scorer_that_is_never_wrong_has_a_finite_temperature():
    assert 0 < fit_temperature(judged(1.0, 2.0, 3.0)) < 0.01


def test_calibration_by_hand():
    """Differences of log 3 mean 3/4 and of log 9 mean 9/10, at temperature 1; two of four and one of one are right."""
    three, nine = np.log(3), np.log(9)
    found = judged(three, three, -three, -three, nine)
    made = calibration(found, 1.0, 7, bins=10)
    assert [row.pairs for row in made.bins] == [4, 1]
    assert [row.confidence for row in made.bins] == pytest.approx([0.75, 0.9])
    assert [row.right for row in made.bins] == [0.5, 1.0]
    assert made.error == pytest.approx((4 * 0.25 + 1 * 0.1) / 5)
    assert made.brier == pytest.approx((2 * 0.25**2 + 2 * 0.75**2 + 0.1**2) / 5)
    assert made.log_loss == pytest.approx(-(2 * np.log(0.75) + 2 * np.log(0.25) + np.log(0.9)) / 5)
    assert (made.pairs, made.fitted_on, made.temperature) == (5, 7, 1.0)


def test_ties_of_people_and_missing_scores_are_left_out():
    rankings = [Ranking("a", (1, 0)), Ranking("b", (1, 1)), Ranking("c", (0, 1))]
    found = all_pairs(rankings, [(1.0, 0.0), (5.0, 0.0), (float("nan"), 0.0)])
    assert calibration(found, 1.0, 1).pairs == 1
    nothing = all_pairs(rankings[1:2], [(5.0, 0.0)])
    for measure in (fit_temperature, lambda pairs: calibration(pairs, 1.0, 0)):
        with pytest.raises(ValueError, match="decided"):
            measure(nothing)


def test_the_order_of_the_two_images_does_not_matter():
    forth, back = judged(1.0, -2.0, 3.0), judged(-1.0, 2.0, -3.0, human=(0, 1))
    assert calibration(forth, 1.5, 0) == calibration(back, 1.5, 0)


def test_certain_and_wrong_is_a_finite_loss():
    assert calibration(judged(-800.0), 1.0, 0).log_loss == pytest.approx(800)
