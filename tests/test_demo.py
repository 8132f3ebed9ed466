"""The whole job on the embedded world, smaller than ``mmalign demo`` and for real: what it promises is asserted."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from PIL import Image

from mmalign import data, demo
from mmalign.cli import main
from mmalign.config import from_mapping, save_resolved
from mmalign.errors import UserError

KEYS = {"aligned_to", "comparisons", "control", "seconds", "versions"}


@pytest.fixture(scope="module")
def smaller():
    """The recipe of the SDXL-type base on fewer prompts and steps."""
    whole = demo.RECIPES["taste"]["sdxl"]
    train = {**whole.train, "max_train_steps": 70, "checkpointing_steps": 35}
    return replace(whole, pair_prompts=96, final_prompts=64, train=train)


@pytest.fixture(scope="module")
def out(smaller, tmp_path_factory):
    """A finished demo."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    patch = pytest.MonkeyPatch()
    patch.setitem(demo.RECIPES["taste"], "sdxl", smaller)
    demo.run(folder, "sdxl", "diffusion_dpo", seed=0)
    patch.undo()
    return folder


def test_the_aligned_model_wins_under_what_it_was_aligned_to(out):
    report = json.loads((out / "report.json").read_text())
    assert report.keys() >= KEYS
    assert report["aligned_to"] == "taste"
    rows = {row["name"]: row for row in report["comparisons"]}
    assert rows.keys() == {"taste", "oracle", "colorfulness"}
    assert rows["taste"]["low"] > 0.6
    assert rows["taste"]["n"] == 64
    assert rows["oracle"]["high"] >= 0.5
    assert rows["colorfulness"]["used_for_labels"] is False
    assert report["seconds"].keys() >= {"pairs", "training", "evaluation", "total"}


def test_the_control_and_the_share_of_prompts_wholly_right_are_there(out):
    report = json.loads((out / "report.json").read_text())
    assert 0.3 < report["control"]["win_rate"] < 0.7
    assert report["shares"]["oracle"]["threshold"] == 5
    assert 0 < report["shares"]["oracle"]["base"]["value"] < 1


def test_the_folder_holds_what_was_said(out):
    assert {path.name for path in out.iterdir()} >= {"report.html", "report.json", "side_by_side.png", "pairs_taste.parquet", "aligned"}
    assert (out / "aligned" / "pytorch_lora_weights.safetensors").is_file()
    assert Image.open(out / "side_by_side.png").width > 600
    pairs = data.load("pickapic", out / "pairs_taste.parquet")
    assert len(pairs) > 60
    assert all(pair.scores[0] > pair.scores[1] for pair in pairs)


def test_a_finished_or_another_demo_is_not_written_over(out, tmp_path):
    with pytest.raises(UserError, match="finished demo"):
        demo.run(out)
    config = demo.run_config(demo.RECIPES["taste"]["sdxl"], tmp_path, "sdxl", "diffusion_dpo", 0)
    demo.claim(tmp_path, config)
    demo.claim(tmp_path, config)
    with pytest.raises(UserError, match="other options"):
        demo.claim(tmp_path, demo.run_config(demo.RECIPES["taste"]["sdxl"], tmp_path, "sdxl", "diffusion_dpo", 1))


def test_the_report_shows_what_was_run_with_the_defaults_of_the_family(tmp_path, monkeypatch):
    """MaPO's scale for SDXL is one that the demo does not give: the run has it, as its own configuration says."""
    told = {}

    def train(config, pipe):
        config.output_dir.mkdir()
        method = config.method.model_dump() | {"scale": 0.25}
        save_resolved(from_mapping(config.model_dump(mode="json") | {"method": method}), config.output_dir / "config.yaml")

    monkeypatch.setattr(demo, "train", train)
    monkeypatch.setattr(demo, "draw_pairs", lambda *_: None)
    monkeypatch.setattr(demo.pipelines, "load", lambda *_: SimpleNamespace(pipe=None))
    monkeypatch.setattr(demo, "judge", lambda *_: SimpleNamespace(seconds={"evaluation": 1.0}))
    monkeypatch.setattr(demo, "told", lambda _: "")
    monkeypatch.setattr(demo, "write_report", lambda *_, **given: told.update(given))
    demo.run(tmp_path / "out", "sdxl", "mapo")
    assert told["config"]["method"]["scale"] == 0.25
    assert told["config"]["seed"] == 0


def test_unknown_options_are_named(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "x"), "--method", "diffusion_dop"]) == 2
    assert "did you mean 'diffusion_dpo'?" in capsys.readouterr().err
