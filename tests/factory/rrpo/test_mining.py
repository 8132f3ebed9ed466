"""What becomes of answers: rules, judges, a text model, wrong answers that are there already, and further attempts."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from mmalign.config.rrpo import RrpoOptions
from mmalign.factory.questions import Asked
from mmalign.factory.rrpo import Helpers, Miner, mine, mining
from mmalign.factory.rrpo.asking import question_of
from mmalign.factory.rrpo.judged import contact
from mmalign.factory.rrpo.rewrite import Rewriter

FRAMES = tuple(Image.new("RGB", (32, 32), (40 * number, 0, 0)) for number in range(4))
OPEN = "a red circle moves from the left to the top"


def asked(question, answer, **more):
    return Asked(question, answer, FRAMES, origin="row 0", **more)


@pytest.fixture
def answering(monkeypatch):
    """Models that say what they are told to, in turn, and the frames that they saw."""
    seen = []

    def make(*said):
        queue = list(said)

        class Told:
            count = 16

            def __init__(self, family, options): ...

            def __call__(self, rows, films):
                seen.append([film.frames for film in films])
                return [queue.pop(0) for _ in rows]

        monkeypatch.setattr(mining, "Asker", Told)
        return seen

    return make


def outcome(found):
    return [
        one.reason
        or [[text[a:b] for a, b in spans] for text, spans in zip((one.pair.chosen, one.pair.rejected), one.pair.spans, strict=True)]
        for one in found.all
    ]


def test_rules_tell_wrong_answers_of_few_words(answering):
    answering("It is red.", "blue", "yes", "", "a blue circle stays where it is")
    rows = [asked("What color?", "red"), asked("What color?", "red"), asked("Is it red?", "no"), asked("Is it red?", "no")]
    found = mine("a model", [*rows, asked("What happens?", OPEN)], RrpoOptions(batch_size=8))
    assert outcome(found) == [
        "the model was right",
        [["red"], ["blue"]],
        [["no"], ["yes"]],
        "the model said nothing",
        "nothing says whether it is wrong",
    ]
    assert found.reasons()["the model was right"] == 1


def test_differing_words_can_count_as_wrong(answering):
    answering("a blue circle moves from the left to the top", OPEN.capitalize() + ".", "Red circle: a moves from the left to the top")
    rows = [asked("What happens?", OPEN)] * 3
    assert outcome(mine("a model", rows, RrpoOptions(open_answers="differs")))[:2] == [[["red"], ["blue"]], "the model was right"]


class Judge:
    higher_is_better = True

    def __init__(self, scores):
        self.scores, self.asked = scores, []

    def score(self, images, prompts):
        self.asked.append((images[0].size, prompts))
        return torch.tensor([self.scores[prompt] for prompt in prompts])


@pytest.mark.parametrize(
    ("right", "said", "gap", "expected"),
    [
        (5.0, 2.0, 0.0, [["red"], ["blue"]]),
        (2.0, 5.0, 0.0, "the model was right"),
        (3.0, 2.0, 1.0, "the model was right"),
        (float("nan"), 2.0, 0.0, "nothing says whether it is wrong"),
    ],
)
def test_judges_tell_wrong_answers_of_several_words(answering, right, said, gap, expected):
    wrong = OPEN.replace("red", "blue")
    answering(wrong)
    judge = Judge({f"What happens? {OPEN}": right, f"What happens? {wrong}": said})
    found = mine("a model", [asked("What happens?", OPEN)], RrpoOptions(judge_gap=gap), Helpers([judge]))
    assert outcome(found) == [expected]
    assert judge.asked[0][0] == (128, 32)


def test_a_text_model_writes_the_mistakes_into_the_right_answer(answering):
    answering("Something blue goes away", "It is all the same", "blue")
    told = []

    def rewriter(rows):
        told.extend(rows)
        return [OPEN.replace("red", "blue") if "blue" in said else None for _, _, said in rows]

    rows = [asked("What happens?", OPEN), asked("What happens?", OPEN), asked("What color?", "red")]
    found = mine("a model", rows, RrpoOptions(), Helpers(rewriter=rewriter))
    assert outcome(found) == [[["red"], ["blue"]], "the model was right", [["red"], ["blue"]]]
    assert found.all[0].said == "Something blue goes away"
    assert len(told) == 2  # an answer of one word needs none


def test_a_text_model_is_asked_for_differences_first_and_for_words_where_there_are_any():
    asked_for = []

    class Scripted(Rewriter):
        def _write(self, chats):
            asked_for.extend(chats)
            return [
                ("None." if "Other answer: the same" in turns[0]["content"] else "red -> blue") if len(turns) == 1 else "a blue circle"
                for turns in chats
            ]

    assert Scripted(None, None)([("What?", "a red circle", "blue"), ("What?", "a red circle", "the same")]) == ["a blue circle", None]
    assert [len(turns) for turns in asked_for] == [1, 1, 3]
    assert asked_for[2][1] == {"role": "assistant", "content": "red -> blue"}
    assert "Right answer: a red circle\nOther answer: blue\n" in asked_for[0][0]["content"]


def test_wrong_answers_that_are_there_need_no_model(answering):
    rows = [
        asked("What?", OPEN, cells={"pred": OPEN.replace("red", "blue")}),
        asked(
            "What?",
            "a red circle here now",
            cells={"answer_masked": "a <MASK>red circle</MASK> here now", "pred_masked": "a <MASK>dog</MASK> here now"},
        ),
        asked("What?", OPEN, cells={"pred": OPEN}),
        asked("What?", OPEN),
    ]
    assert outcome(mine(None, rows)) == [
        [["red"], ["blue"]],
        [["red circle"], ["dog"]],
        "no words differ",
        "no wrong answer, and no model to give one",
    ]


def test_right_answers_are_asked_for_again_about_films_spoiled_anew(answering):
    seen = answering("red", "red", "blue", "blue")
    found = mine("a model", [asked("What color?", "red"), asked("What color?", "red")], RrpoOptions(attempts=3, batch_size=1))
    assert outcome(found) == [[["red"], ["blue"]]] * 2
    first, second, third = ([frame.tobytes() for frame in frames[0]] for frames in seen[:3])
    assert len({*map(tuple, (first, second, third))}) == 3


def test_a_row_is_spoiled_alike_wherever_a_run_begins(answering):
    rows = [asked("What color?", "red") for _ in range(4)]
    seen = answering(*["blue"] * 6)
    whole = list(Miner("a model", rows, RrpoOptions(batch_size=2)).mined(range(4)))
    last = list(Miner("a model", rows, RrpoOptions(batch_size=2)).mined(range(2, 4)))
    assert [[f.tobytes() for f in one.seen.frames] for one in last] == [[f.tobytes() for f in one.seen.frames] for one in whole[2:]]
    assert len(seen) == 3


def test_marks_of_the_data_stay_where_there_is_one_for_each_frame():
    text = "Image1:<image>\nImage2:<image>\nWhere is it?"
    row = Asked("Where is it?", "left", FRAMES[:2], prompt=text)
    assert question_of(row, 2) == text
    assert question_of(row, 3) == "\nWhere is it?"
    assert question_of(replace(row, images=(), videos=(Path("a"),)), 2) == "\nWhere is it?"


def test_frames_stand_in_lines():
    sheet = contact([FRAMES[number % 4] for number in range(6)])
    assert sheet.size == (128, 64)
    assert [sheet.getpixel((32 * column + 5, 37))[0] for column in range(4)] == [0, 40, 255, 255]
