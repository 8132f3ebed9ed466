from itertools import pairwise
from random import Random

import pytest

from mmalign.evaluation.answers.questions import AskedQuestion
from mmalign.shapes.questions import (
    ASKED,
    CLIP,
    ONE,
    SEVERAL,
    about_clip,
    about_one,
    about_several,
    changed,
    claims,
    clip,
    hallucinated,
    is_right,
    told_words,
)
from mmalign.shapes.scene import ATTRIBUTES, Scene, every_scene

SCENE = Scene("small", "purple", "cross", "left", "beige")
OTHER = Scene("large", "red", "circle", "top", "white")


@pytest.mark.parametrize("kind", ASKED)
def test_the_answer_about_an_attribute_is_its_word(kind):
    assert about_one(SCENE, kind, Random(0)).answer == getattr(SCENE, kind)


def test_yes_and_no_are_right_as_often_and_no_is_never_said_of_what_is_shown():
    asked = [about_one(SCENE, "is", Random(seed)) for seed in range(400)]
    for question in asked:
        assert (question.text == "Is it a purple cross?") == (question.answer == "yes")
    assert 160 < sum(question.answer == "yes" for question in asked) < 240


def test_pictures_are_counted():
    for seed in range(50):
        question = about_several([SCENE, OTHER, SCENE], "count", Random(seed))
        word = question.text.removeprefix("How many pictures show a ").removesuffix("?").removesuffix(" shape")
        assert question.answer == {"purple": "2", "cross": "2", "red": "1", "circle": "1"}.get(word, "0")


def test_the_picture_asked_for_is_the_only_one_of_its_kind():
    for seed in range(20):
        assert about_several([SCENE, OTHER, SCENE], "which", Random(seed)).answer == "Image2"
    with pytest.raises(ValueError, match="none can be asked for"):
        about_several([SCENE, SCENE], "which", Random(0))


def test_a_clip_is_told_by_its_first_and_last_frame():
    frames = (SCENE, SCENE, changed(SCENE, "position", Random(0)))
    end = frames[-1].position
    answers = {kind: about_clip(frames, kind).answer for kind in CLIP}
    told = f"a small purple cross moves from the left to the {end} on a beige background"
    assert answers == {"start": "left", "end": end, "moves": "yes", "clip": told}
    assert about_clip([SCENE, SCENE], "clip").answer == "a small purple cross stays at the left on a beige background"
    assert about_clip([SCENE, SCENE], "moves").answer == "no"


def test_clips_jump_once_or_stay():
    clips = [clip(SCENE, 4, Random(seed)) for seed in range(400)]
    assert all(len(frames) == 4 and frames[0] == SCENE for frames in clips)
    jumps = [sum(a != b for a, b in pairwise(frames)) for frames in clips]
    assert set(jumps) == {0, 1}
    assert 60 < jumps.count(0) < 140


def test_right_answers_are_right_and_others_are_not():
    for scene in list(every_scene())[::97]:
        for kind in ONE:
            question = about_one(scene, kind, Random(0))
            assert is_right(question, f" {question.answer.upper()}. ")
            assert not is_right(question, f"{question.answer} or so")


def test_what_is_not_there_is_found_where_it_is_said():
    question = about_one(SCENE, "describe", Random(0))
    assert hallucinated(question, question.answer) == []
    said = "a large purple cross at the top on a beige background"
    assert [said[start:stop] for start, stop in hallucinated(question, said)] == ["large", "top"]


def test_places_in_a_clip_are_right_at_their_time():
    frames = (SCENE, Scene("small", "purple", "cross", "top", "beige"))
    question = about_clip(frames, "clip")
    assert hallucinated(question, question.answer) == []
    swapped = "a small purple cross moves from the top to the left on a beige background"
    assert [swapped[start:stop] for start, stop in hallucinated(question, swapped)] == ["top", "left"]


def test_no_word_of_the_world_has_two_meanings():
    words = [word for words in ATTRIBUTES.values() for word in words]
    assert len(words) == len(set(words))
    assert told_words("Red, and the LEFT, colored") == [("color", "red", 0, 3), ("position", "left", 13, 17)]


@pytest.mark.parametrize(("make", "known"), [(about_one, ONE), (about_several, SEVERAL)])
def test_an_unknown_kind_is_refused(make, known):
    with pytest.raises(ValueError, match=", ".join(known)):
        make(SCENE if make is about_one else [SCENE], "taste", Random(0))


def test_claims_agree_with_what_is_hallucinated_word_by_word():
    """Two ways to the same count: phrases listed beforehand, and words looked up in the scene at their time."""
    numbers = Random(0)
    for scene in list(every_scene())[::41]:
        frames, other = clip(scene, 4, numbers), clip(list(every_scene())[numbers.randrange(1200)], 4, numbers)
        question, said = about_clip(frames, "clip"), about_clip(other, "clip").answer
        true, false = (AskedQuestion.claims(_asked(part), said)[0] for part in claims(question))
        assert true + false == len(told_words(said)) + 1  # the verb is a claim too
        verb = ("moves" in said and frames[0] == frames[-1]) or ("stays" in said and frames[0] != frames[-1])
        if "moves" in said or frames[0] == frames[-1]:
            assert false == len(hallucinated(question, said)) + verb
        assert not any(phrase in question.answer for phrase in claims(question)[1])


def _asked(phrases):
    return AskedQuestion((), (), (), (), tuple(phrases), (), {}, "")
