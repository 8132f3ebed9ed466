"""What votes say, against values derived by hand and by simulation."""

from math import comb

import numpy as np
import pytest

from mmalign.evaluation.statistics import sign_test
from mmalign.votes import results
from mmalign.votes.bradley_terry import ELO, strengths
from mmalign.votes.needed import agreement, votes_needed
from mmalign.votes.rounds import Cast


def cast(*choices: str, left: str = "base", right: str = "aligned") -> list[Cast]:
    return [Cast(k, f"prompt {k}", f"v{k % 3}", left, right, choice, 0.0) for k, choice in enumerate(choices)]


def test_a_duel_counts_ties_and_both_bad_half_and_skips_not_at_all():
    said = results(cast("right", "right", "left", "tie", "both_bad", "skip"))
    (duel,) = said.duels
    assert (duel.first, duel.second) == ("aligned", "base")
    assert (duel.wins, duel.losses, duel.ties, duel.both_bad) == (2, 1, 1, 1)
    assert duel.rate.value == pytest.approx((2 + 0.5 + 0.5) / 5)
    assert (said.votes, said.skipped, said.voters) == (6, 1, 3)


def test_swapping_the_sides_changes_no_duel_and_mirrors_the_bias():
    choices = ["right"] * 7 + ["left"] * 2
    there = results(cast(*choices))
    back = results(cast(*({"left": "right", "right": "left"}[c] for c in choices), left="aligned", right="base"))
    assert there.duels == back.duels
    assert there.left.value == pytest.approx(2 / 9)
    assert back.left.value == pytest.approx(7 / 9)
    assert there.left_p_value == pytest.approx(2 * (comb(9, 0) + comb(9, 1) + comb(9, 2)) / 2**9)


def test_votes_on_one_prompt_are_one_unit_of_chance():
    spread = results(cast(*["right", "left"] * 40)).duels[0].rate
    gathered = [
        Cast(vote.round, f"prompt {vote.round % 2}", "v", "base", "aligned", vote.choice, 0.0) for vote in cast(*["right", "left"] * 40)
    ]
    rate = results(gathered).duels[0].rate  # one prompt always wins, one always loses
    assert rate.value == spread.value == 0.5
    assert (rate.low, rate.high) == (0.0, 1.0)
    assert 0.35 < spread.low < spread.high < 0.65


def test_two_models_differ_by_the_log_odds_of_their_wins():
    wins = np.array([[0.0, 30.0], [10.0, 0.0]])
    first, second = strengths(wins)
    assert first - second == pytest.approx(ELO * np.log(30.5 / 10.5))
    assert first + second == pytest.approx(0.0, abs=1e-9)


def test_strengths_are_where_the_likelihood_is_greatest():
    draw = np.random.default_rng(0)
    wins = np.triu(draw.integers(1, 40, (4, 4)).astype(float), 1)
    wins += np.tril(draw.integers(1, 40, (4, 4)), -1)
    found = strengths(wins) / ELO
    prior = wins + 0.5 * (1 - np.eye(4))
    # derivative of the log-likelihood: wins minus those expected
    expected = (prior + prior.T) / (1 + np.exp(found[None] - found[:, None]))
    assert np.allclose(prior.sum(1), expected.sum(1), rtol=1e-6)


def test_models_that_never_met_have_no_common_scale():
    wins = np.zeros((4, 4))
    wins[0, 1] = wins[2, 3] = 5
    assert strengths(wins) is None
    assert results([*cast("left"), *cast("left", left="x", right="y")]).ranking == ()


def test_a_ranking_finds_the_order_that_made_the_votes():
    draw, power = np.random.default_rng(1), {"a": 4.0, "b": 2.0, "c": 1.0}
    votes = []
    for number in range(600):
        left, right = draw.choice(["a", "b", "c"], 2, replace=False)
        wins = draw.random() < power[left] / (power[left] + power[right])
        votes.append(Cast(number, f"p{number % 100}", "v", str(left), str(right), "left" if wins else "right", 0.0))
    ranking = results(votes).ranking
    assert [name for name, _ in ranking] == ["a", "b", "c"]
    for (_, strength), truth in zip(ranking, ELO * (np.log([4, 2, 1]) - np.log([4, 2, 1]).mean()), strict=True):
        assert strength.low < truth < strength.high


def test_votes_needed_give_the_power_that_was_asked_for():
    count = votes_needed(0.65)
    draw = np.random.default_rng(0).binomial(count, 0.65, 4000)
    seen = np.mean([sign_test(int(wins), count - int(wins)) < 0.05 for wins in draw])
    assert 0.74 < seen < 0.86  # the exact test is a little more careful than its approximation
    assert votes_needed(0.65, ties=0.5) == pytest.approx(2 * count, abs=1)
    assert votes_needed(0.35) == count
    with pytest.raises(ValueError, match="no number of votes"):
        votes_needed(0.5)


def test_agreement_counts_a_scorers_ties_half_and_leaves_undecided_votes_out():
    votes = cast("left", "right", "left", "tie", "skip")
    score = {0: (2.0, 1.0), 1: (2.0, 1.0), 2: (1.0, 1.0)}
    found = agreement(votes, lambda number: score[number], lambda images, prompts: images, batch=2)
    assert found.value == pytest.approx((1 + 0 + 0.5) / 3)
    assert agreement(cast("tie"), lambda number: score[number], lambda images, prompts: images) is None


def test_no_votes_say_nothing():
    said = results([])
    assert (said.duels, said.ranking, said.left, said.votes) == ((), (), None, 0)
