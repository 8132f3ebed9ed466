"""Distances and differences of two answers, against definitions written out."""

import random
from functools import cache

import pytest

from mmalign.vlm.edits import differing, distance, edit_distance, length_ratio, plain


def by_definition(first: str, second: str) -> int:
    @cache
    def least(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        same = first[i - 1] == second[j - 1]
        return min(least(i - 1, j) + 1, least(i, j - 1) + 1, least(i - 1, j - 1) + (not same))

    return least(len(first), len(second))


def test_the_edit_distance_is_the_least_number_of_edits():
    draw = random.Random(0)
    for _ in range(60):
        first, second = ("".join(draw.choice("abé𝄞") for _ in range(draw.randrange(9))) for _ in range(2))
        assert edit_distance(first, second) == by_definition(first, second)
    assert distance("", "") == 0
    assert distance("ab", "") == 1
    assert distance("circle", "circles") == pytest.approx(1 / 7)


def test_case_blanks_and_a_final_stop_are_no_difference():
    assert plain("  A Red\ncircle. ") == plain("a red circle")
    assert plain("2.5") == "2.5"


def test_lengths_are_compared_in_words():
    assert length_ratio("red", "a small red circle") == 4
    assert length_ratio("", "two words") == 2


def phrases(first, second):
    one, two = differing(first, second)
    assert len(one) == len(two)
    return [(first[a:b], second[c:d]) for (a, b), (c, d) in zip(one, two, strict=True)]


def test_replaced_words_are_phrases_of_both():
    assert phrases("a small red circle at the left", "a small blue circle at the top right") == [("red", "blue"), ("left", "top right")]


def test_signs_and_case_are_no_phrases():
    assert phrases("It is red, and large.", "it is red and large") == []


def test_words_that_one_text_lacks_take_a_neighbor_along():
    assert phrases("a red circle", "a circle") == [("red circle", "circle")]
    assert phrases("a circle", "a circle moves") == [("circle", "circle moves")]
    assert phrases("the circle", "circle") == [("the circle", "circle")]


def test_phrases_never_overlap_and_what_is_left_is_the_same():
    draw = random.Random(1)
    for _ in range(300):
        first, second = (" ".join(draw.choice("abcd") for _ in range(draw.randrange(1, 8))) for _ in range(2))
        spans = differing(first, second)
        rest = []
        for text, own in zip((first, second), spans, strict=True):
            flat = [place for span in own for place in span]
            assert flat == sorted(flat)
            assert all(text[a:b].strip() == text[a:b] != "" for a, b in own)
            keep = [c for i, c in enumerate(text) if not any(a <= i < b for a, b in own)]
            rest.append("".join(keep).split())
        assert rest[0] == rest[1]
        assert (spans == ((), ())) == (first == second)


def test_texts_without_words_have_no_phrases():
    assert differing("?", "a") == ((), ())
