"""The demo of a vision-language model, small: it makes preferences, trains, evaluates."""

import json

import pytest

from mmalign import demo_answers as demo
from mmalign.cli import main
from mmalign.data.responses import load_responses
from mmalign.errors import UserError
from tests.pages import Page

SMALL = demo.Recipe(
    asked=24,
    kinds={"sequence": {2: 1, 3: 1}},
    train=demo.TRAIN | {"max_train_steps": 2, "train_batch_size": 2, "checkpointing_steps": 1, "logging_steps": 1, "lr_warmup_steps": 1},
    final={"one": 7, "named": 7},
)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "out"
    demo.run(folder, seed=0, recipe=SMALL)
    return folder


def test_everything_lies_below_its_folder(out):
    assert {"questions", "mia", "mia.html", "aligned", "report.html", "report.json", "answers.jsonl"} <= {p.name for p in out.iterdir()}
    assert (out / "aligned" / "adapter_config.json").is_file()


def test_the_report_has_the_layout_of_every_report(out):
    numbers = json.loads((out / "report.json").read_text())
    assert set(numbers) >= {"aligned_to", "comparisons", "control", "shares", "seconds", "versions", "config", "command"}
    assert numbers["command"] == "mmalign demo --task vlm --out out --seed 0"
    assert {"preferences", "training", "evaluation", "total"} <= numbers["seconds"].keys()
    assert numbers["config"]["method"]["name"] == SMALL.method["name"]
    assert {"right, set one", "right, set named"} <= numbers["shares"].keys()
    assert "Training" in Page((out / "report.html").read_text()).text


def test_a_finished_demo_is_not_written_over(out):
    with pytest.raises(UserError, match="holds a finished demo"):
        demo.run(out, seed=0, recipe=SMALL)


def test_preferences_are_the_models_own_wrong_answers_about_several_pictures(out):
    for example in load_responses("auto", str(out / "mia")):
        assert len(example.images) in (2, 3)
        assert example.responses[0] != example.responses[1]


def test_options_about_pictures_are_refused(tmp_path, capsys):
    assert main(["demo", "--task", "vlm", "--out", str(tmp_path / "x"), "--family", "sd3"]) == 2
    assert "--family is about image generators" in capsys.readouterr().err
