"""Which answers are kept, at and around every limit."""

import pytest

from mmalign.config.mia import MiaOptions
from mmalign.factory.mia.plan import Request
from mmalign.factory.mia.select import measured, reason_against


def reason(kind="sequence", count=2, chosen="a red circle", said="a blue square", share=0.1, perplexity=2.0, **options):
    request, options = Request(0, kind, count, 0), MiaOptions(**options)
    return reason_against(request, said, measured(request, chosen, said, share, perplexity, 5, options), options)


@pytest.mark.parametrize(
    ("kind", "count", "limit"), [("sequence", 2, 0.8), ("sequence", 3, 0.7), ("sequence", 4, 0.6), ("sequence", 5, 0.6)]
)
def test_a_sequence_keeps_the_threshold_itself(kind, count, limit):
    assert reason(kind, count, share=limit) is None
    assert reason(kind, count, share=limit + 1e-6) == "looked at the right picture"


@pytest.mark.parametrize(
    ("kind", "count", "limit"),
    [("collage", 2, 0.7), ("collage", 3, 0.6), ("collage", 4, 0.5), ("collage", 6, 0.4), ("collage", 9, 0.3), ("pic_in_pic", 2, 0.8)],
)
def test_collages_and_pictures_in_pictures_keep_what_lies_below_it(kind, count, limit):
    assert reason(kind, count, share=limit) == "looked at the right picture"
    assert reason(kind, count, share=limit - 1e-6) is None


def test_a_sure_answer_is_left_out():
    assert reason(perplexity=1.1) == "too sure of itself"
    assert reason(perplexity=1.11) is None
    assert reason(perplexity=1.0, min_perplexity=None) is None


def test_right_answers_in_other_dress_are_left_out():
    assert reason(said="A red  circle.") == "same as the right answer"
    assert reason(said="A red  circle.", min_edit_distance=0, min_perplexity=None) == "same as the right answer"


def test_almost_right_answers_are_left_out_by_their_distance():
    assert reason(chosen="x" * 100, said="x" * 95 + "y" * 5) is None
    assert reason(chosen="x" * 100, said="x" * 96 + "y" * 4) == "almost the right answer"


def test_lengths_are_bounded_on_both_sides():
    assert reason(chosen="red", said="it is blue there") is None
    assert reason(chosen="red", said="it is quite blue there") == "much longer or shorter than the right answer"
    assert reason(chosen="it is quite blue there", said="red") == "much longer or shorter than the right answer"


def test_silence_and_what_was_not_measured_are_left_out():
    assert reason(said=" .") == "the model said nothing"
    assert reason(share=None) == "too short to measure where it looked"
