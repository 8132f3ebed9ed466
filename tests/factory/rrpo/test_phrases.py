"""Phrases from tags, from offsets and from the words themselves; and tags that say them again."""

import random

import pytest

from mmalign.data.response_readers.rrpo import untagged
from mmalign.errors import UserError
from mmalign.factory.rrpo.phrases import paired, tagged
from mmalign.vlm.edits import differing

RIGHT, WRONG = "a red circle moves to the left", "a blue circle moves to the top"


def words_of(pair):
    return [[text[start:stop] for start, stop in spans] for text, spans in zip((pair.chosen, pair.rejected), pair.spans, strict=True)]


def test_words_side_by_side():
    pair = paired(RIGHT, WRONG)
    assert words_of(pair) == [["red", "left"], ["blue", "top"]]
    assert (pair.chosen, pair.rejected) == (RIGHT, WRONG)


def test_tags_go_before_offsets_and_words():
    cells = {"answer_phrases": [[2, 5]], "pred_phrases": [[2, 6]]}
    pair = paired("a red circle moves to the <MASK>left</MASK>", "a blue circle moves to the <MASK> top </MASK>", cells=cells)
    assert words_of(pair) == [["left"], ["top"]]
    assert pair.rejected == WRONG


def test_offsets_go_before_words_and_lose_blanks_at_their_ends():
    cells = {"answer_phrases": [[1, 6]], "pred_phrases": [[2, 6], [27, 30]]}
    assert words_of(paired(RIGHT, WRONG, cells=cells)) == [["red"], ["blue", "top"]]


@pytest.mark.parametrize("spans", [[[5, 2]], [[0, 99]], [[4, 6], [0, 2]], "no", [[1]]])
def test_offsets_that_are_no_parts_are_refused(spans):
    with pytest.raises(UserError, match="offsets of phrases"):
        paired(RIGHT, WRONG, cells={"answer_phrases": spans, "pred_phrases": [[0, 1]]})


def test_what_is_asked_for_and_not_there_is_said():
    with pytest.raises(UserError, match="no tags <MASK>"):
        paired(RIGHT, WRONG, "tags")
    with pytest.raises(UserError, match="no columns answer_phrases and pred_phrases"):
        paired(RIGHT, WRONG, "offsets")
    assert words_of(paired("a <MASK>red</MASK> circle", "a blue circle", "alignment")) == [["red"], ["blue"]]


def test_tags_are_read_back_as_they_were_meant():
    draw = random.Random(0)
    for _ in range(200):
        first, second = (" ".join(draw.choice(["a", "red", "circle,", "top."]) for _ in range(draw.randrange(1, 7))) for _ in range(2))
        for text, spans in zip((first, second), differing(first, second), strict=True):
            assert untagged(tagged(text, spans), "here") == (text, spans)
