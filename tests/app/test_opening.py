"""From the command line to what is opened; and what is drawn to be judged."""

import json
import random
import subprocess
import sys
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
from PIL import Image

from mmalign.app.opening import named_places, rewards_by_title
from mmalign.app.pairs import AnswerPairs, PicturePairs, TastePairs
from mmalign.app.questions import load_pictured, shuffled
from mmalign.cli import main
from mmalign.compare import View
from mmalign.errors import UserError


@dataclass
class Drawn:
    view: View
    image: Image.Image

    @property
    def model(self) -> str:
        return self.view.models[0]


class Models:
    """A studio whose pictures are of one color, by model."""

    source, defaults = "here", SimpleNamespace(frames=None)

    def __init__(self, **kinds: str):
        self.aligned = {name: SimpleNamespace(kind=kind) for name, kind in kinds.items()}
        self.names = ("base", *kinds)

    def about(self, name: str) -> str:
        return f"weights of {name}"

    def filled(self, view: View) -> View:
        return replace(view, steps=3, guidance=2.0, width=8, height=8)

    def draw(self, view: View):
        for seed in view.seeds:
            for name in view.models:
                yield Drawn(view.only(name, seed), Image.new("RGB", (8, 8)))


def test_places_by_name():
    assert named_places("--aligned", ["a=runs/a", "b=c=d"]) == {"a": "runs/a", "b": "c=d"}
    for words, said in ((["runs/a"], "is not NAME=PATH"), (["=x"], "is not NAME=PATH"), (["a="], "NAME=PATH"), (["a=x", "a=y"], "twice")):
        with pytest.raises(UserError, match=said):
            named_places("--aligned", words)


def test_rewards_are_known_by_title_and_not_loaded():
    found = rewards_by_title(["hpsv2", "{name: taste, user: poster, label: mine}"])
    assert list(found) == ["hpsv2", "mine"]
    assert found["mine"]().taste.weights
    with pytest.raises(UserError, match="did you mean 'hpsv3'"):
        rewards_by_title(["hpsv3x"])


def test_each_prompt_comes_once_before_one_comes_again_and_all_models_meet():
    pairs = PicturePairs(Models(dpo="lora", mapo="lora", mine="personal"), ["a", "b", "c"], random.Random(0))
    drawn = [pairs() for _ in range(30)]
    for start in range(0, 30, 3):
        assert {pair.prompt for pair in drawn[start : start + 3]} == {"a", "b", "c"}
    met = {frozenset(side.model for side in pair.sides) for pair in drawn}
    assert met == {frozenset(two) for two in (("base", "dpo"), ("base", "mapo"), ("dpo", "mapo"))}  # personal models are for persons
    assert len({pair.settings["seed"] for pair in drawn}) == 30
    assert drawn[0].settings | {"seed": 0} == {"seed": 0, "base": "here", "steps": 3, "guidance": 2.0, "width": 8, "height": 8}
    assert {side.about for pair in drawn for side in pair.sides} == {"weights of base", "weights of dpo", "weights of mapo"}


def test_what_is_missing_for_a_pair_is_said():
    with pytest.raises(UserError, match="--aligned NAME=FOLDER"):
        PicturePairs(Models(), ["a"])()
    with pytest.raises(UserError, match="--prompts FILE"):
        PicturePairs(Models(dpo="lora"), [])()
    assert PicturePairs(Models(dpo="lora"), []).of("a fox").prompt == "a fox"


def test_a_taste_is_asked_about_pictures_of_one_model_from_different_noise():
    pair = TastePairs(Models(dpo="lora"), ["a"])()
    assert [side.model for side in pair.sides] == ["base", "base"]
    assert len(set(pair.settings["seeds"])) == 2


class Speakers:
    """Two models that agree at first."""

    source = "shapes/vlm"
    names = ("base", "mia")
    asked = 0

    def about(self, name: str) -> str:
        return name

    def ask(self, asked, models):
        self.asked += 1
        for name in models:
            yield SimpleNamespace(model=name, text="red" if self.asked < 3 else f"as {name} says")


def test_answers_that_are_alike_are_asked_again_a_few_times():
    speakers = Speakers()
    pair = AnswerPairs(speakers, lambda: ("Which color?", [Image.new("RGB", (4, 4))]))()
    assert speakers.asked == 3
    assert {side.content for side in pair.sides} == {"as base says", "as mia says"}
    assert pair.prompt == "Which color?"
    assert len(pair.question) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--aligned", "runs/x"], "is not NAME=PATH"),
        (["--rewards", "hpsv22"], "hpsv2"),
        (["--prompts", "nowhere.txt"], "nowhere.txt"),
        (["--auth", "nowhere.txt"], "nowhere.txt"),
        (["--max-steps", "0"], "--max-steps"),
        (["--port", "x"], "--port"),
        (["--bse", "x"], "did you mean"),
        (["--votes", "votes.txt"], "votes.txt"),
        (["--personal", "nowhere"], "--personal nowhere is no folder"),
    ],
)
def test_a_mistake_is_one_sentence(words, said, tmp_path, monkeypatch, capsys):
    pytest.importorskip("gradio")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "votes.txt").write_text("no database, but some text that is longer than the head of one " * 20)
    assert main(["app", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1


def test_help_fits_a_terminal_and_app_py_is_the_same_command(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["app", "--help"])
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    from tests.app.conftest import ROOT

    run = subprocess.run([sys.executable, str(ROOT / "app.py"), "--help"], capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout == out


def test_questions_come_with_their_pictures_each_once(tmp_path):
    for name in ("a", "b"):
        Image.new("RGB", (4, 4), "red" if name == "a" else "blue").save(tmp_path / f"{name}.png")
    rows = [{"question": "<image>\nWhich color?", "image": "a.png"}, {"question": "Which two?", "images": ["a.png", "b.png"]}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ask = shuffled(load_pictured(str(tmp_path / "rows.jsonl")), random.Random(0))
    found = dict(ask() for _ in range(2))
    assert {question: [image.getpixel((0, 0)) for image in images] for question, images in found.items()} == {
        "Which color?": [(255, 0, 0)],
        "Which two?": [(255, 0, 0), (0, 0, 255)],
    }
    assert ask()[0] in found
    for row, words in (({"query": "?"}, "no column 'question'"), ({"question": "who?"}, "has no picture")):
        (tmp_path / "bad.jsonl").write_text(json.dumps(row))
        with pytest.raises(UserError, match=words):
            load_pictured(str(tmp_path / "bad.jsonl"))
