"""``mmalign users rewards`` on people who like red or blue, and its means by hand."""

import json
import math

import numpy as np
import pytest
import torch

from mmalign import cli
from mmalign.evaluation.statistics import interval
from mmalign.evaluation.user_models.result import summarized
from mmalign.users.comparison import Told
from tests.users.choices import write

PEOPLE = {f"{liking}{number}": 10 for number in range(6) for liking in "rb"}
SHOTS = ["--shots", "1", "2", "--told", "4"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rewards")
    source = write(folder, {**PEOPLE, "few": 2})
    words = ["--data.source", str(source), "--scorer.name", "shapes_clip", "--output-dir", str(folder / "out"), *SHOTS]
    models = ["--models", "bradley_terry", "mixture", "laplace", "--dim", "12", "--steps", "60", "--resamples", "200"]
    assert cli.main(["users", "rewards", *words, *models]) == 0
    return folder, json.loads((folder / "out" / "report.json").read_text()), (folder / "out" / "report.html").read_text()


def test_models_of_people_tell_what_one_reward_cannot(ran):
    _, report, _ = ran
    one, mixture, laplace = report["rows"]
    assert report["people"] == [9, 3]
    assert report["choices"] == [9 * 8, 9 * 2, 3 * 8]  # a quarter is kept; two choices of unseen people are shown at most
    assert report["left_out"] == {"people with too few choices": 1}
    assert report["shared"] == 0.0
    assert one["unseen"]["1"] == one["unseen"]["2"]
    assert one["gain"] is None
    for row in (mixture, laplace):
        assert row["unseen"]["2"]["value"] > 0.85
        assert row["gain"]["2"]["value"] == pytest.approx(row["unseen"]["2"]["value"] - one["unseen"]["2"]["value"])


def test_the_page_says_what_the_numbers_say(ran):
    _, report, page = ran
    best = max(report["rows"], key=lambda row: row["unseen"]["2"]["value"])
    assert f"{best['title']} tells {100 * best['unseen']['2']['value']:.1f}%" in page
    assert "9 people and 72 choices were trained on" in page
    assert "0.0% of the pictures told" in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_means_are_over_people_who_have_choices_and_gains_pair_them():
    first = Told("one", torch.tensor([0.5, 1.0, math.nan]), {1: torch.tensor([0.0, 0.5])})
    second = Told("two", torch.tensor([1.0, 1.0, 0.25]), {1: torch.tensor([0.5, 1.0])})
    one, two = summarized([first, second], seed=0, resamples=100, confidence=0.9)
    assert one.seen == interval(np.array([0.5, 1.0]), 0, 100, 0.9)
    assert two.seen.value == 0.75
    assert one.gain is None
    assert (two.gain[1].value, two.gain[1].low, two.gain[1].high) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--shots", "8", "--told", "9"], "0 people have 17 choices or more, 9 of them under prompts of their own, too few"),
        (["--shots", "2", "1"], "shots are [2, 1]"),
        (["--models", "pal", "pal"], "models names one twice"),
        (["--models", "pall"], "pal"),
    ],
)
def test_mistakes_are_one_sentence(ran, tmp_path, capsys, words, said):
    source = ran[0] / "choices.jsonl"
    given = ["--data.source", str(source), "--scorer.name", "shapes_clip", "--output-dir", str(tmp_path / "out")]
    capsys.readouterr()
    assert cli.main(["users", "rewards", *given, *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.partition("error: ")[2].count("\n") == 1
