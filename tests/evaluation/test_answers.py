"""`mmalign evaluate` of vision-language models: marks and rates by hand, both sides in one process, and the report."""

import json
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from peft import PeftModel
from PIL import Image
from transformers import AutoConfig, AutoModelForImageTextToText

from mmalign import pipelines
from mmalign.cli import main
from mmalign.config import EvaluateAnswersConfig, JudgeConfig, LoraAdapterConfig, from_mapping
from mmalign.errors import UserError
from mmalign.evaluation.answers.evaluate import Options, evaluate
from mmalign.evaluation.answers.judge import ASPECTS, AnswerJudge
from mmalign.evaluation.answers.measure import Measured, mark
from mmalign.evaluation.answers.questions import AskedQuestion, Columns, load_questions
from mmalign.evaluation.answers.result import Rate
from mmalign.evaluation.answers.run import questions_of
from mmalign.evaluation.answers.sides import AlignedVlm, answer_all
from mmalign.evaluation.answers.words import change, remarks, verdict
from mmalign.evaluation.statistics import Interval, ratio_difference
from mmalign.shapes import models
from mmalign.shapes.exam import exam, write
from mmalign.training.response_trained import VlmLora
from mmalign.vlm.answer import Answer
from mmalign.vlm.load import load_model
from tests.pages import Page

PICTURE = Image.new("RGB", (8, 8), "red")
KEYS = {"aligned_to", "comparisons", "control", "shares", "diversity", "seconds", "versions", "config", "command"}


def question(answers=("red",), present=(), absent=(), **groups):
    turns = ({"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What color?"}]},)
    return AskedQuestion(turns, (PICTURE,), (), tuple(answers), tuple(present), tuple(absent), groups, "row 0")


@pytest.mark.parametrize(
    ("said", "exact", "first_word", "contains"),
    [
        ("red", True, True, True),
        (" Red. ", True, True, True),
        ("Red, of course", False, True, True),
        ("It is red", False, False, True),
        ("reddish", False, False, False),
        ("", False, False, False),
    ],
)
def test_an_answer_is_right_by_the_rule_that_is_asked_for(said, exact, first_word, contains):
    asked = question()
    assert [asked.is_right(said, match) for match in ("exact", "first_word", "contains")] == [exact, first_word, contains]


def test_a_letter_in_brackets_is_the_first_word():
    assert question(("b",)).is_right("(B) the second", "first_word")
    assert not question(("b",)).is_right("A", "first_word")


def test_claims_are_counted_as_whole_phrases_wherever_they_stand():
    asked = question(present=("a dog", "grass"), absent=("cat", "to the left"))
    assert asked.claims("A dog, a  DOG and a cat  to the\nleft; categories of glass") == (4, 2)
    assert asked.claims("nothing") == (0, 0)


BASE = ["red", "blue", "red", "a cat and a dog"]
ALIGNED = ["red", "red", "red dog", "a dog"]
ASKED = [
    question(type="color", pictures="1"),
    question(type="color", pictures="2"),
    question(type="shape", pictures="10"),
    question((), ("dog",), ("cat",), type="describe", pictures="1"),
]


def measured():
    return Measured(ASKED, (marks(BASE), marks(ALIGNED)), resamples=500)


def marks(said):
    return [mark(one, Answer(text, len(text.split()), 1.0), "exact") for one, text in zip(ASKED, said, strict=True)]


def test_rates_are_those_counted_by_hand():
    found = {rate.title: rate for rate in measured().right()}
    assert list(found) == ["right", "right, type color", "right, type shape", *(f"right, pictures {n}" for n in (1, 2, 10))]
    assert (found["right"].base.value, found["right"].aligned.value, found["right"].n) == (pytest.approx(2 / 3), pytest.approx(2 / 3), 3)
    assert found["right, type color"].difference.value == 0.5
    made_up = {rate.name: rate for rate in measured().made_up()}
    assert made_up["claims that name what is not there"].base.value == 0.5
    assert made_up["claims that name what is not there"].difference.value == -0.5
    assert made_up["answers with such a claim"].aligned.value == 0
    tokens = measured().lengths()[0]
    assert (tokens.base.value, tokens.aligned.value) == (2.0, 1.5)  # 1, 1, 1, 5 and 1, 1, 2, 2


def test_numbers_of_pictures_are_in_order():
    asked = [question(type="a", pictures=value) for value in ("10", "2", "1") for _ in range(2)]
    side = [mark(one, Answer("red", 1, 1.0), "exact") for one in asked]
    titles = [rate.title for rate in Measured(asked, (side, side), resamples=100).right()]
    assert titles == ["right", "right, pictures 1", "right, pictures 2", "right, pictures 10"]


@pytest.mark.parametrize(("questions", "said"), [(1, "no measurable difference"), (9, "no measurable difference"), (10, "better")])
def test_of_a_handful_of_questions_nothing_is_claimed(questions, said):
    end = Interval(1.0, 1.0, 1.0)
    assert change(Rate("right", Interval(0.0, 0.0, 0.0), end, end, questions)) == said


def test_win_rates_count_ties_half_and_only_what_is_known():
    rows = {row.reward: row.result for row in measured().comparisons("grounded")}
    assert list(rows) == ["grounded", "right"]
    assert (rows["right"].wins, rows["right"].ties, rows["right"].losses) == (1, 1, 1)
    assert (rows["grounded"].wins, rows["grounded"].n) == (1, 1)


def test_a_difference_of_ratios_is_over_the_same_questions():
    numbers = np.random.default_rng(0)
    counts = numbers.integers(1, 5, 40).astype(float)
    before, after = np.minimum(counts, numbers.integers(0, 5, 40)), np.minimum(counts, numbers.integers(0, 3, 40))
    found = ratio_difference((before, counts), (after, counts), seed=1, resamples=4000)
    drawn = [numbers.integers(0, 40, 40) for _ in range(4000)]
    changes = [after[rows].sum() / counts[rows].sum() - before[rows].sum() / counts[rows].sum() for rows in drawn]
    assert found.value == pytest.approx(after.sum() / counts.sum() - before.sum() / counts.sum())
    assert (found.low, found.high) == pytest.approx(np.quantile(changes, [0.025, 0.975]), abs=0.02)
    same = ratio_difference((before, counts), (before, counts), resamples=100)
    assert (same.low, same.value, same.high) == (0, 0, 0)


def test_questions_are_read_from_a_file_with_columns_of_its_own(tmp_path):
    PICTURE.save(tmp_path / "a.png")
    rows = [{"file": "a.png", "prompt": "What color?", "label": ["red", "crimson"], "topic": "art"}]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = {"question": "prompt", "image": "file", "answer": "label", "by": ["topic"]}
    config = {
        "vlm": {"pretrained": "x"},
        "adapter_path": "y",
        "output_dir": "z",
        "questions": str(tmp_path / "q.jsonl"),
        "columns": columns,
    }
    asked = questions_of(from_mapping(config, EvaluateAnswersConfig))[0]
    assert asked.answers == ("red", "crimson")
    assert asked.groups == {"topic": "art", "pictures": "1"}
    assert asked.text == "<image>What color?"
    with pytest.raises(UserError, match="did you mean 'question'"):
        questions_of(from_mapping(config | {"columns": {"quesion": "prompt"}}, EvaluateAnswersConfig))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "What?", "images": [PICTURE]}, "neither a right answer"),
        ({"question": "<image><image>What?", "images": [PICTURE], "answer": "a"}, "other places"),
        ({"prompt": "What?", "answer": "a"}, "no column 'question'"),
    ],
)
def test_rows_that_are_no_questions_are_told(row, said):
    with pytest.raises(UserError, match=said):
        load_questions([row], Columns())


@pytest.fixture(scope="module")
def family():
    return pipelines.load_vlm(*load_model(models.path("vlm")))


@pytest.fixture(scope="module")
def adapter(family, tmp_path_factory):
    """A LoRA that changes answers: its second factors are not zero."""
    folder = tmp_path_factory.mktemp("adapter")
    lora = VlmLora(family, LoraAdapterConfig(rank=4), seed=0)
    with torch.no_grad():
        for parameter in family.model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.3)
    lora.save(folder)
    lora.remove()
    return folder


ROWS = exam("shapes/tuning", {"one": 14, "named": 7, "clips": 4})


def test_both_sides_answer_as_alone(family, adapter):
    asked = load_questions(ROWS)
    before = [answer.text for answer in answer_all(family, asked, 12)]
    sides = AlignedVlm(family, adapter)
    assert [answer.text for answer in answer_all(sides.base, asked, 12)] == before
    with sides.aligned() as other:
        after = [answer.text for answer in answer_all(other, asked, 12, batch_size=3)]
    sides.close()
    assert after != before
    assert [answer.text for answer in answer_all(family, asked, 12)] == before
    alone = AutoModelForImageTextToText.from_pretrained(models.path("vlm"))
    alone.load_adapter(str(adapter))
    assert [answer.text for answer in answer_all(pipelines.load_vlm(alone.eval(), family.processor), asked, 12)] == after


def test_a_film_is_asked_about_by_its_frames(family, tmp_path):
    """The model takes no films: it is shown the chosen frames as pictures, between questions without films."""
    frames = [row["images"][0] for row in ROWS[:6]]
    folder = tmp_path / "film"
    folder.mkdir()
    for number, frame in enumerate(frames):
        frame.save(folder / f"{number}.png")
    question = {"question": "Where is the shape at the end?", "answer": "left"}
    film, plain = load_questions([{**question, "videos": [str(folder)]}, ROWS[0]])
    assert film.groups["pictures"] == "1"
    pictures = load_questions([{**question, "images": frames[1::2]}])
    (alone,) = answer_all(family, pictures, 12)
    told = answer_all(family, [film, plain], 12, frames={"count": 3})
    assert told[0].text == alone.text
    assert told[1].text == answer_all(family, [plain], 12)[0].text


def test_what_is_merged_as_the_page_says_answers_as_base_with_adapter(family, adapter, tmp_path):
    asked = load_questions(ROWS[:14])
    sides = AlignedVlm(family, adapter)
    with sides.aligned() as other:
        after = [answer.text for answer in answer_all(other, asked, 12)]
    sides.close()
    base = AutoModelForImageTextToText.from_pretrained(models.path("vlm"))
    PeftModel.from_pretrained(base, adapter).merge_and_unload().save_pretrained(tmp_path)
    family.processor.save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).model_type == "llava"
    with AlignedVlm(family, tmp_path).aligned() as merged:
        assert [answer.text for answer in answer_all(merged, asked, 12)] == after


def test_an_adapter_of_another_shape_and_an_empty_folder_are_refused(family, adapter, tmp_path):
    with pytest.raises(UserError, match=r"neither adapter_config.json nor config.json"):
        AlignedVlm(family, tmp_path)
    config = json.loads((adapter / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"r": 8}))
    (tmp_path / "adapter_model.safetensors").write_bytes((adapter / "adapter_model.safetensors").read_bytes())
    with pytest.raises(UserError, match="does not fit this base"):
        AlignedVlm(family, tmp_path)


class Judged:
    """A judge that answers as it is told, and keeps what it is asked."""

    def __init__(self, answers):
        self.answers, self.asked = iter(answers), []

    def __call__(self, *_):
        return self

    def plain(self, text):
        return text

    def encode(self, questions):
        self.asked += questions
        return questions

    def write(self, questions, _):
        return [next(self.answers) for _ in questions]


def rated(number):
    return json.dumps({name: {"rationale": "so", "rating": number} for name in ASPECTS})


def test_a_judges_ratings_are_read_and_unreadable_ones_left_out():
    judge = AnswerJudge.__new__(AnswerJudge)
    judge.config, judge.judge = JudgeConfig(pretrained="x", batch_size=2), Judged([rated(4), "I cannot say", rated(1)])
    judge.rubric = AnswerJudge.rubric
    asked = [question(), question(), question(())]
    assert judge.rate(asked, ["red", "blue", "green"]) == [4.0, None, 1.0]
    texts = [one.text for one in judge.judge.asked]
    assert 'The right answer is: "red"' in texts[0]
    assert 'They answered: "blue"' in texts[1]
    assert "right answer is" not in texts[2]


@contextmanager
def same(family):
    yield family


def test_equal_sides_tie_and_the_verdict_claims_nothing(family):
    sides = AlignedVlm.__new__(AlignedVlm)
    sides.base, sides.aligned = family, lambda: same(family)
    found = evaluate(sides, load_questions(ROWS), options=Options(resamples=200, max_new_tokens=12), progress=False)
    assert found.main.result.ties == found.main.result.n == 25
    assert all(rate.difference.value == rate.difference.low == rate.difference.high == 0 for rate in (*found.rates, *found.made_up))
    assert verdict(found).startswith("No measurable difference")
    assert any("intervals are too narrow" in line for line in remarks(found))
    with pytest.raises(UserError, match="aligned_to is 'judge', of which these questions tell nothing; they tell: right, grounded"):
        evaluate(sides, load_questions(ROWS[:8] + ROWS[-4:]), "judge", Options(max_new_tokens=2, resamples=100), progress=False)


def test_the_command_writes_a_report_with_the_layout_of_every_report(adapter, tmp_path, capsys):
    file = write(ROWS, tmp_path / "asked")
    words = [
        "--vlm.pretrained",
        "shapes/vlm",
        "--adapter-path",
        str(adapter),
        "--questions",
        str(file),
        "--output-dir",
        str(tmp_path / "out"),
    ]
    assert main(["evaluate", *words, "--output-dir", str(tmp_path / "out"), "--max-new-tokens", "12", "--resamples", "200"]) == 0
    printed, numbers = capsys.readouterr().out, json.loads((tmp_path / "out" / "report.json").read_text())
    assert set(numbers) >= KEYS
    assert numbers["shares"]["right"]["n"] == 25
    assert {"right, set one", "right, set named", "right, pictures 4"} <= numbers["shares"].keys()
    assert numbers["comparisons"][0]["reward"] == "right"
    lines = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    assert sum(line["base"]["right"] for line in lines) / 25 == pytest.approx(numbers["shares"]["right"]["base"]["value"])
    text = Page((tmp_path / "out" / "report.html").read_text()).text
    assert "Questions and answers" in text
    assert "right, set named" in printed
    assert str(tmp_path / "out" / "report.html") in printed


def test_a_configuration_with_judge_needs_one():
    values = {"vlm": {"pretrained": "x"}, "adapter_path": "y", "output_dir": "z", "aligned_to": "judge"}
    with pytest.raises(UserError, match=r"give judge\.pretrained"):
        from_mapping(values, EvaluateAnswersConfig)
