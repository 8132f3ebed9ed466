"""What the report says and shows, read back from the files."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mmalign.errors import UserError
from mmalign.evaluation.evaluate import evaluate
from mmalign.evaluation.pictures import inline, scaled
from mmalign.evaluation.plan import Options
from mmalign.evaluation.report import write_report
from mmalign.evaluation.versions import this_command
from tests.pages import Page

SMALL = Options(pictures=5, extremes=2, diversity_prompts=4, diversity_draws=2, resamples=500)
EVIL = "<script>alert(1)</script>\"><img src=x onerror=alert(2)> & 'quoted'"
TOP = ["aligned_to", "comparisons", "control", "shares", "diversity", "seconds", "versions", "config", "command"]


@pytest.fixture
def evaluation(world):
    world.prompts[4] = EVIL
    world.rewards["oracle"] = world.rewards.pop("steps")
    return evaluate(
        world.noise, world.brighter, world.prompts, world.rewards, "brightness", thresholds={"oracle": 5}, options=SMALL, progress=False
    )


def test_the_numbers_are_in_the_agreed_layout(evaluation, tmp_path):
    write_report(evaluation, tmp_path, config={"train": {"lr": 1e-4}, "out": tmp_path}, command="mmalign demo")
    found = json.loads((tmp_path / "report.json").read_text())
    assert list(found) == TOP
    assert found["aligned_to"] == "brightness"
    assert [row["name"] for row in found["comparisons"]] == ["brightness", "redness", "oracle"]
    for row, comparison in zip(found["comparisons"], evaluation.comparisons, strict=True):
        assert {"name", "reward", "win_rate", "low", "high", "n", "p_value", "base_mean", "aligned_mean", "base_median"} <= set(row)
        assert row["low"] == comparison.result.low <= row["win_rate"] <= row["high"]
        assert row["wins"] + row["ties"] + row["losses"] == row["n"] == 40
        assert row["used_for_labels"] == (row["name"] == "brightness")
    assert {"win_rate", "low", "high"} <= set(found["control"])
    assert found["shares"]["oracle"]["aligned"]["value"] == 1.0
    assert found["diversity"]["prompts"] == 4
    assert found["seconds"]["evaluation"] >= found["seconds"]["scoring"]
    assert found["versions"]["torch"]
    assert found["config"] == {"train": {"lr": 1e-4}, "out": str(tmp_path)}
    assert found["command"] == "mmalign demo"


def test_every_score_is_written_with_its_prompt_and_seed(evaluation, tmp_path):
    write_report(evaluation, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert len(rows) == 40
    assert rows[4]["prompt"] == EVIL
    assert rows[7]["seed"] == evaluation.seeds[7, 0]
    assert rows[7]["aligned"]["redness"] == evaluation.scores["redness"][1][7, 0]
    recomputed = np.mean([row["aligned"]["brightness"] > row["base"]["brightness"] for row in rows])
    assert recomputed == evaluation.main.result.win_rate


def test_the_page_stands_alone(evaluation, tmp_path):
    text = write_report(evaluation, tmp_path).read_text()
    assert len(text) < 3_000_000
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:image/png;base64,") or name not in attributes
    assert not re.search(r"(https?:)?//[a-z]|url\(|@import", re.sub(r"base64,[\w+/=]+", "", text))


def test_prompts_are_text_never_markup(evaluation, tmp_path):
    page = Page(write_report(evaluation, tmp_path, config={"note": EVIL}, command=EVIL).read_text())
    assert evaluation.group("even")[0].prompt == EVIL
    assert page.text.count("<script>alert(1)</script>") >= 3  # caption, configuration, command
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert images[0]["alt"].startswith("base model, score 0.")
    assert images[0]["alt"].endswith(EVIL)
    assert all(attributes["alt"] and attributes["src"].startswith("data:image") for attributes in images)


def test_the_page_has_its_parts_in_order(evaluation, tmp_path):
    log = tmp_path / "metrics.jsonl"
    log.write_text("".join(json.dumps({"step": step, "loss": 0.69, "rewards/margins": step / 10}) + "\n" for step in range(1, 30)))
    page = Page(write_report(evaluation, tmp_path, command="mmalign demo --seed 1", metrics=log).read_text())
    parts = ["beats its base", "Win rates", "Control and side effects", "Side by side", "A fair sample", "Largest wins", "Scores"]
    parts += ["Training", "Configuration", "Versions", "How to reproduce", "mmalign demo --seed 1"]
    places = [page.text.index(part) for part in parts]
    assert places == sorted(places)
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == 2 * (5 + 2)  # there are no losses to show
    labels = [attributes["aria-label"] for tag, attributes in page.tags if tag == "svg" and "aria-label" in attributes]
    assert sum(label.startswith("win rate") for label in labels) == 4
    assert sum(" over 29 steps" in label for label in labels) == 2
    assert "rewards/accuracies" not in page.text  # not in the log
    assert "The guard saw" not in page.text


def test_the_page_tells_what_the_guard_saw(evaluation, tmp_path):
    log = tmp_path / "metrics.jsonl"
    event = {"step": 9, "event": "spike", "seen_at": 9, "action": "report", "said": "the loss jumped"}
    log.write_text("".join(json.dumps(row) + "\n" for row in [{"step": 1, "loss": 0.7}, {"step": 20, "loss": 0.6}, event]))
    page = Page(write_report(evaluation, tmp_path, metrics=log).read_text())
    assert "report: the loss jumped" in page.text
    assert sum(attributes.get("class") == "event" for tag, attributes in page.tags) == 1


def test_bars_stand_where_their_numbers_are(evaluation, tmp_path):
    page = Page(write_report(evaluation, tmp_path).read_text())
    dots = [attributes["cx"] for tag, attributes in page.tags if attributes.get("class") == "dot"]
    rates = [row.result.win_rate for row in evaluation.comparisons] + [evaluation.control.win_rate]
    assert dots == [f"{100 * rate:.2f}%" for rate in rates]


def test_grids_show_the_fair_sample(evaluation, tmp_path):
    write_report(evaluation, tmp_path)
    with Image.open(tmp_path / "grid_base.png") as base, Image.open(tmp_path / "grid_aligned.png") as aligned:
        assert base.size == aligned.size
        first = np.asarray(base)[12 : 12 + 192, 12 : 12 + 192]
        np.testing.assert_array_equal(first[::24, ::24], evaluation.group("even")[0].base)  # 8 px images, each pixel a square of 24
        assert (np.asarray(base) != np.asarray(aligned)).any()
    with Image.open(tmp_path / "side_by_side.png") as pairs:
        assert pairs.width > 3 * 2 * 192


def test_the_same_evaluation_gives_the_same_bytes(evaluation, tmp_path):
    for name in ("one", "two"):
        write_report(evaluation, tmp_path / name, command="x")
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["grid_aligned.png", "grid_base.png", "report.html", "report.json", "scores.jsonl", "side_by_side.png"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_failed_write_leaves_the_old_report(evaluation, tmp_path, monkeypatch):
    write_report(evaluation, tmp_path, command="first")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(UserError, match="cannot write the report into .*: No space left on device; free some space"):
        write_report(evaluation, tmp_path, command="second")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_report_without_pictures_and_diversity_is_whole(world, tmp_path):
    sizes = Options(pictures=0, extremes=0, diversity_prompts=0, resamples=100)
    found = evaluate(world.noise, world.noise, ["one prompt"], world.rewards, "brightness", options=sizes, progress=False)
    text = Page(write_report(found, tmp_path).read_text()).text
    assert "Side by side" not in text
    assert "With 1 prompt the intervals are too narrow" in text
    assert json.loads((tmp_path / "report.json").read_text())["diversity"] == {}
    assert not (tmp_path / "grid_base.png").exists()


def test_large_images_are_reduced_and_small_ones_kept():
    small = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert inline(small).startswith("data:image/png")
    large = np.kron(small, np.ones((16, 16, 1), dtype=np.uint8))
    assert inline(large).startswith("data:image/jpeg")
    assert len(inline(large)) < 80_000
    assert scaled(small).size == scaled(large).size == (192, 192)


BROKEN = [('{"loss": 1}', "has no whole number under 'step'"), ('{"step": 1,', "is not JSON"), ("3", "has no whole number")]


@pytest.mark.parametrize(("line", "sentence"), BROKEN)
def test_a_broken_log_is_a_sentence(evaluation, tmp_path, line, sentence):
    log = tmp_path / "metrics.jsonl"
    log.write_text('{"step": 1, "loss": 0.5}\n' + line + "\n")
    with pytest.raises(UserError, match=f"line 2 {sentence}"):
        write_report(evaluation, tmp_path, metrics=log)
    assert not (tmp_path / "report.json").exists()


def test_a_missing_log_is_a_sentence(evaluation, tmp_path):
    with pytest.raises(UserError, match="cannot read the training log .*nowhere"):
        write_report(evaluation, tmp_path, metrics=tmp_path / "nowhere")


def test_the_command_is_what_one_would_type(monkeypatch):
    monkeypatch.setattr("sys.argv", ["/opt/bin/mmalign", "demo", "--out", "my runs"])
    assert this_command() == "mmalign demo --out 'my runs'"
    monkeypatch.setattr("sys.argv", ["/opt/mmalign/__main__.py"])
    assert this_command() == "python -m mmalign"


def test_json_has_no_nan(evaluation, tmp_path):
    broken = replace(evaluation, seconds={"evaluation": math.nan})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_report(broken, tmp_path)
