"""Every number against a derivation of its own."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from mmalign.evaluation.statistics import interval, outcomes, sign_test, win_rate


def test_win_rate_by_hand():
    result = win_rate([1.0, 2.0, 3.0, 4.0], [2.0, 2.0, 1.0, 9.0])  # win, tie, loss, win
    assert (result.wins, result.ties, result.losses, result.n) == (2, 1, 1, 4)
    assert result.win_rate == (1 + 0.5 + 0 + 1) / 4
    assert (result.base_mean, result.aligned_mean, result.difference.value) == (2.5, 3.5, 1.0)
    assert (result.base_median, result.aligned_median) == (2.5, 2.0)


def test_seeds_are_averaged_within_a_prompt_first():
    base = np.zeros((2, 3))
    aligned = np.array([[1.0, 1.0, -1.0], [-1.0, 0.0, -5.0]])  # 2 of 3, then half of 3
    np.testing.assert_allclose(outcomes(base, aligned), [2 / 3, 1 / 6])
    result = win_rate(base, aligned)
    assert (result.wins, result.ties, result.losses) == (1, 0, 1)
    assert result.win_rate == pytest.approx((2 / 3 + 1 / 6) / 2)


def test_bootstrap_equals_the_enumeration_of_all_resamples():
    values = np.array([0.0, 0.5, 1.0, 1.0])
    means = sorted(np.mean(choice) for choice in itertools.product(values, repeat=4))  # 256 equally likely resamples
    found = interval(values, resamples=200_000, confidence=0.8)
    assert found.low == np.quantile(means, 0.1, method="inverted_cdf")
    assert found.high == np.quantile(means, 0.9, method="inverted_cdf")


def test_bootstrap_is_the_same_whatever_the_chunk(monkeypatch):
    values = np.random.default_rng(0).random(50)
    whole = interval(values, seed=3)
    monkeypatch.setattr("mmalign.evaluation.statistics._CHUNK", 50 * 7)
    assert interval(values, seed=3) == whole
    assert interval(values, seed=4) != whole


@pytest.mark.parametrize(
    ("wins", "losses", "p_value"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 5, 1.0), (5, 0, 0.0625), (8, 2, 0.109375), (9, 1, 0.021484375), (10, 0, 2 / 1024)],
)
def test_sign_test_has_the_tabulated_values(wins, losses, p_value):
    assert sign_test(wins, losses) == sign_test(losses, wins) == p_value


def test_sign_test_equals_the_count_of_all_coin_sequences():
    for n, wins in [(6, 1), (7, 6), (9, 3)]:
        distance = abs(Fraction(wins) - Fraction(n, 2))
        extreme = sum(abs(Fraction(sum(coins)) - Fraction(n, 2)) >= distance for coins in itertools.product([0, 1], repeat=n))
        assert sign_test(wins, n - wins) == pytest.approx(extreme / 2**n, abs=0)


def test_sign_test_survives_thousands_of_prompts():
    assert sign_test(5000, 5000) == 1.0
    assert 0 < sign_test(5300, 4700) < 1e-8  # 6 standard deviations: about 2e-9
    assert sign_test(5100, 4900) == pytest.approx(0.0466, abs=0.0005)  # normal with continuity: 2 * (1 - Phi(1.99))


def test_interval_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(1)
    hits = 0
    for trial in range(300):
        sample = (random.random(200) < 0.7).astype(float)
        found = interval(sample, seed=trial, resamples=1000)
        hits += found.low <= 0.7 <= found.high
    assert 0.91 <= hits / 300 <= 0.98  # 95% nominal, three standard errors of 1.26% each way, percentile intervals a little short


def test_intervals_resample_prompts_not_images():
    random = np.random.default_rng(2)
    per_prompt = random.random((40, 1)) < 0.5
    base, aligned = np.zeros((40, 25)), np.where(per_prompt, 1.0, -1.0) * np.ones((40, 25))
    many, one = win_rate(base, aligned), win_rate(base[:, 0], aligned[:, 0])
    assert (many.low, many.high) == (one.low, one.high)  # 25 equal images of a prompt say no more than one


def test_identical_scores_give_exactly_one_half():
    scores = np.random.default_rng(3).random((50, 2))
    result = win_rate(scores, scores.copy())
    assert (result.win_rate, result.low, result.high, result.p_value, result.ties) == (0.5, 0.5, 0.5, 1.0, 50)


def test_all_wins_still_leave_doubt():
    result = win_rate(np.zeros(10), np.ones(10))
    assert (result.win_rate, result.high) == (1.0, 1.0)
    assert result.low == pytest.approx(0.6915, abs=5e-5)  # tabulated Clopper-Pearson, 10 of 10
    mirrored = win_rate(np.ones(10), np.zeros(10))
    assert (mirrored.low, mirrored.high) == (0.0, pytest.approx(0.3085, abs=5e-5))


def test_swapping_the_sides_mirrors_everything():
    base, aligned = np.random.default_rng(4).random((2, 60))
    one, two = win_rate(base, aligned), win_rate(aligned, base)
    assert (one.wins, one.losses, one.p_value) == (two.losses, two.wins, two.p_value)
    assert one.win_rate + two.win_rate == pytest.approx(1)
    assert one.low + two.high == pytest.approx(1)
    assert one.difference.value == pytest.approx(-two.difference.value)


@pytest.mark.parametrize("scores", [[1.0, float("nan")], [1.0, float("inf")]])
def test_a_score_that_is_no_number_names_its_prompt(scores):
    with pytest.raises(ValueError, match="prompt 1 is not a finite number"):
        win_rate([1.0, 2.0], scores)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"\(2, 1\).*\(3, 1\)"):
        win_rate([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="at least one"):
        win_rate([], [])
