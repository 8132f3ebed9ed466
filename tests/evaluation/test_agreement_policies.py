"""Pairs, the rules for ties and the tuned threshold, against numbers by hand and rules said once more."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmalign.data import Example
from mmalign.errors import UserError
from mmalign.evaluation.agreement.accuracy import Bootstrap, accuracy, by_source
from mmalign.evaluation.agreement.measure import Rules, Subject, measure
from mmalign.evaluation.agreement.pairs import all_pairs
from mmalign.evaluation.agreement.policies import best_threshold, decided, half_credit, never_wrong, published_thresholds
from mmalign.evaluation.agreement.rankings import Ranking, human_scores
from mmalign.evaluation.agreement.words import source_span

NAN = float("nan")
QUICK = Bootstrap(resamples=200)

# People's scores and the scorer's. A: all three right. B: the best image scored lowest, and the other two tied.
# C: people see no difference between the first two, and the rest is right.
RANKINGS = [Ranking("a", (3, 2, 1)), Ranking("b", (3, 2, 1)), Ranking("c", (1, 1, 2))]
SCORES = [(30, 20, 10), (10, 20, 20), (10, 20, 30)]


def pairs(humans=RANKINGS, scores=SCORES):
    return all_pairs(humans, scores)


def test_every_two_images_of_a_ranking_are_a_pair():
    found = pairs()
    assert found.human.tolist() == [1, 1, 1, 1, 1, 1, 0, -1, -1]
    assert found.difference.tolist() == [10, 20, 10, -10, -10, 0, -10, -20, -10]
    assert found.ranking.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_credit_by_hand():
    np.testing.assert_array_equal(decided(pairs()), [1, 1, 1, 0, 0, 0, NAN, 1, 1])
    np.testing.assert_array_equal(never_wrong(pairs()), [1, 1, 1, 0, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(half_credit(pairs(), 0), [1, 1, 1, 0, 0, 0.5, 0.5, 1, 1])
    np.testing.assert_array_equal(half_credit(pairs(), 10), [0.5, 1, 0.5, 0.5, 0.5, 0.5, 1, 1, 0.5])


def shares(policy, credit):
    return [accuracy(pairs(), credit, policy, mean, QUICK).value.value for mean in ("pairs", "rankings")]


def test_accuracy_by_hand_over_pairs_and_over_rankings():
    assert shares("decided", decided(pairs())) == pytest.approx([5 / 8, (1 + 0 + 1) / 3])
    assert shares("never_wrong", never_wrong(pairs())) == pytest.approx([7 / 9, (1 + 1 / 3 + 1) / 3])
    assert shares("half_credit", half_credit(pairs(), 10)) == pytest.approx([6 / 9, (2 / 3 + 1 / 2 + 2.5 / 3) / 3])
    assert accuracy(pairs(), decided(pairs()), "decided", "rankings", QUICK).pairs == 8


def test_a_missing_score_counts_nowhere_and_never_as_zero():
    found = pairs(scores=[(30, NAN, 10), *SCORES[1:]])
    for credit in (decided(found), never_wrong(found), half_credit(found, 5)):
        assert np.isnan(credit[[0, 2]]).all()
        assert credit[1] == 1
    assert accuracy(found, decided(found), "decided", "pairs", QUICK).value.value == 3 / 6
    assert np.isnan(pairs(scores=[(30, float("inf"), 10), *SCORES[1:]]).difference[0])


def test_no_pair_that_counts_is_refused():
    found = pairs([Ranking("a", (1, 1))], [(1, 2)])
    with pytest.raises(ValueError, match="no pair counts under decided"):
        accuracy(found, decided(found), "decided", "pairs", QUICK)


def published_ranking_share(ranks, scores):
    """1 - inversions / pairs, where an inversion is a pair that people and scorer order oppositely; a low rank is a good one."""
    inversions = total = 0
    for i in range(len(ranks)):
        for j in range(i):
            total += 1
            inversions += (ranks[i] - ranks[j]) * (scores[i] - scores[j]) > 0
    return 1 - inversions / total


def published_decided_counts(ranks, scores):
    """How many pairs with different ranks there are, and in how many the better rank has the strictly higher score."""
    right = total = 0
    for i in range(len(ranks)):
        for j in range(i):
            if ranks[i] != ranks[j]:
                total += 1
                right += (scores[i] > scores[j]) if ranks[i] < ranks[j] else (scores[j] > scores[i])
    return right, total


def published_pair_credit(label, probability, margin):
    """PickScore's: label and prediction are 0, 1 or a tie; equal ones score 1, a tie against a choice 1/2, the opposite 0."""
    predicted = 0.5 if abs(2 * probability - 1) <= margin else float(probability > 0.5)
    return 1 - abs(label - predicted)


RANKED = st.integers(2, 6).flatmap(
    lambda count: st.tuples(*[st.lists(st.integers(0, 4), min_size=count, max_size=count) for _ in range(2)])
)


@given(rows=st.lists(RANKED, min_size=1, max_size=6))
@settings(deadline=None, max_examples=60)
def test_the_rules_are_the_published_ones(rows):
    found = all_pairs([Ranking(str(k), tuple(-rank for rank in ranks)) for k, (ranks, _) in enumerate(rows)], [own for _, own in rows])
    wanted = np.mean([published_ranking_share(*row) for row in rows])
    got = accuracy(found, never_wrong(found), "never_wrong", "rankings", QUICK).value.value
    assert got == pytest.approx(wanted)
    right, total = np.sum([published_decided_counts(*row) for row in rows], axis=0)
    credit = decided(found)
    assert (np.nansum(credit), (~np.isnan(credit)).sum()) == (right, total)


@given(
    labels=st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=20),
    data=st.data(),
    margin=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
@settings(deadline=None, max_examples=60)
def test_half_credit_is_the_published_one_for_logits(labels, data, margin):
    logits = data.draw(st.lists(st.integers(-40, 40).map(lambda k: k / 10), min_size=len(labels), max_size=len(labels)))
    found = all_pairs([Ranking(str(k), (label, 1 - label)) for k, label in enumerate(labels)], [(logit, 0.0) for logit in logits])
    place = round(10 * margin)
    threshold = published_thresholds()[place]
    wanted = [published_pair_credit(label, 1 / (1 + np.exp(-logit)), margin) for label, logit in zip(labels, logits, strict=True)]
    np.testing.assert_array_equal(half_credit(found, threshold), wanted)


def test_the_published_margins_are_eleven_and_end_where_everything_is_a_tie():
    thresholds = published_thresholds()
    assert len(thresholds) == 11
    assert thresholds[0] == 0
    assert thresholds[10] == np.inf
    probability = 1 / (1 + np.exp(-thresholds[3]))
    assert 2 * probability - 1 == pytest.approx(0.3)


@given(
    humans=st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=25),
    data=st.data(),
    candidates=st.sampled_from([None, [0.0, 0.5, 2.0, np.inf], [3.0]]),
)
@settings(deadline=None, max_examples=80)
def test_the_threshold_is_the_smallest_of_the_best(humans, data, candidates):
    gaps = data.draw(st.lists(st.integers(-6, 6).map(lambda k: k / 2), min_size=len(humans), max_size=len(humans)))
    found = all_pairs([Ranking(str(k), (human, 0)) for k, human in enumerate(humans)], [(gap, 0.0) for gap in gaps])
    tried = sorted({0.0, *map(abs, gaps)}) if candidates is None else candidates
    credits = [half_credit(found, threshold).sum() for threshold in tried]
    assert best_threshold(found, None if candidates is None else np.array(candidates)) == tried[int(np.argmax(credits))]


def test_a_threshold_needs_scores():
    with pytest.raises(ValueError, match="a threshold needs pairs with scores"):
        best_threshold(pairs([Ranking("a", (1, 2))], [(NAN, 1)]))


def test_people_judge_pairs_by_label_and_rankings_by_score():
    assert human_scores(Example("a", (b"1", b"2"), scores=(1.0, 9.0))) == (1, 0)  # these scores are a scorer's, as in our own pairs
    assert human_scores(Example("a", (b"1", b"2"), preference=0.5)) == (0, 0)
    assert human_scores(Example("a", (b"1", b"2", b"3"), scores=(-1.0, -2.0, -2.0))) == (-1, -2, -2)
    assert human_scores(Example("a", (b"1", b"2", b"3"))) == (3, 2, 1)


def test_intervals_draw_prompts_and_not_pairs():
    """Ten copies of one prompt are one prompt: with a single prompt a bootstrap sees no chance at all."""
    rankings, scores = [Ranking("same", (2, 1))] * 10, [(1, 0)] * 6 + [(0, 1)] * 4
    found = all_pairs(rankings, scores)
    value = accuracy(found, decided(found), "decided", "pairs", QUICK).value
    assert (value.value, value.low, value.high) == (0.6, 0.6, 0.6)
    apart = all_pairs([Ranking(str(k), (2, 1)) for k in range(10)], scores)
    spread = accuracy(apart, decided(apart), "decided", "pairs", QUICK).value
    assert spread.low < 0.5 < 0.7 < spread.high


def test_a_perfect_scorer_still_has_an_interval():
    found = all_pairs([Ranking(str(k), (2, 1)) for k in range(20)], [(1, 0)] * 20)
    value = accuracy(found, decided(found), "decided", "rankings", QUICK).value
    assert (value.value, value.high) == (1, 1)
    assert value.low == pytest.approx(0.025 ** (1 / 20))


def test_a_pair_counts_under_both_of_its_sources():
    rankings = [Ranking("a", (2, 1), ("sd", "xl")), Ranking("b", (2, 1), ("sd",)), Ranking("c", (1, 1), ("dall-e",))]
    found = by_source(all_pairs(rankings, [(1, 0), (0, 1), (0, 1)]), rankings, QUICK)
    assert [(row.source, row.value.value, row.pairs, row.prompts) for row in found] == [("sd", 0.5, 2, 2), ("xl", 1.0, 1, 1)]
    assert [source_span(row) for row in found] == ["0.0% to 100.0%", "one prompt"]


@pytest.mark.parametrize(
    ("humans", "scores", "validation", "sentence"),
    [
        ((1, 1), (1, 2), None, "none of the 1 pairs is decided: people saw ties only; give judgments that prefer an image"),
        ((1, 2), (NAN, 2), None, "'x' gave no score to both images of any decided pair; look at what it says of one image"),
        ((1, 2), (1, 2), (1, 1), "none of the 1 pairs of the validation source is decided"),
    ],
)
def test_judgments_that_tell_nothing_are_a_sentence(humans, scores, validation, sentence):
    rankings = [Ranking("a", humans)]
    other = None if validation is None else all_pairs([Ranking("b", validation)], [(1, 2)])
    with pytest.raises(UserError, match=sentence):
        measure(Subject("x", "x", ""), rankings, all_pairs(rankings, [scores]), other, None, Rules(bootstrap=QUICK))
