"""Images that break only when they are decoded: all are told, and what was encoded beside them is not lost."""

import json
from pathlib import Path

import pytest

from mmalign.data import Examples
from mmalign.diffusion.family import DiffusionFamily
from mmalign.errors import UserError
from mmalign.training.run import train
from tests.training.conftest import PROMPTS, picture


@pytest.fixture
def folder_of_pairs(tmp_path):
    """Eight pairs as files with a list of them."""
    import numpy as np

    generator = np.random.default_rng(0)
    rows = []
    for i in range(8):
        for side, brightness in (("w", 190), ("l", 60)):
            picture(generator, brightness).save(tmp_path / f"{i}{side}.png")
        rows.append({"prompt": PROMPTS[i % 2], "chosen": f"{i}w.png", "rejected": f"{i}l.png"})
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def cut(path):
    path.write_bytes(path.read_bytes()[:100])


def test_all_broken_images_are_told_after_the_others_are_encoded(configured, folder_of_pairs, monkeypatch):
    encoded = []
    original = DiffusionFamily.encode_images
    monkeypatch.setattr(DiffusionFamily, "encode_images", lambda self, pixels: encoded.append(len(pixels)) or original(self, pixels))
    whole = (folder_of_pairs / "5l.png").read_bytes()
    for name in ("1w.png", "5l.png"):
        cut(folder_of_pairs / name)
    data = {"source": str(folder_of_pairs / "pairs.jsonl"), "cache_dir": str(folder_of_pairs / "cache")}
    with pytest.raises(UserError) as caught:
        train(configured(data=data))
    said = str(caught.value)
    assert said.startswith(f"2 of 8 rows are broken: {folder_of_pairs}/1w.png ({folder_of_pairs}/pairs.jsonl, line 2) cannot be read")
    assert "5l.png" in said
    assert said.endswith("or leave such rows out with on_broken='skip'")
    assert sum(encoded) == 12
    (folder_of_pairs / "5l.png").write_bytes(whole)
    train(configured(data=data | {"on_broken": "skip"}))
    assert sum(encoded) == 14


def test_missing_files_are_told_before_anything_is_encoded(configured, folder_of_pairs, monkeypatch):
    monkeypatch.setattr(DiffusionFamily, "encode_images", lambda *_: pytest.fail("encoded"))
    for name in ("3w.png", "6w.png"):
        (folder_of_pairs / name).unlink()
    with pytest.raises(
        UserError, match=r"2 of 8 rows are broken: .*line 4: the image .*3w.png cannot be read \(No such file.*line 7.*6w.png"
    ):
        train(configured(data={"source": str(folder_of_pairs / "pairs.jsonl")}))


def test_one_broken_image_is_told_as_it_is(configured, folder_of_pairs):
    cut(folder_of_pairs / "4w.png")
    with pytest.raises(UserError, match=r"^/.*4w.png \(.*line 5\) cannot be read as an image .*; replace it, or leave"):
        train(configured(data={"source": str(folder_of_pairs / "pairs.jsonl")}))


def test_broken_images_are_left_out_as_they_are_found_and_only_the_rest_is_trained_on(configured, folder_of_pairs, caplog, monkeypatch):
    """No image is decoded before the encoder asks for it; a second run over the cache trains on the same rows."""
    cut(folder_of_pairs / "1w.png")
    cut(folder_of_pairs / "5l.png")
    (folder_of_pairs / "3w.png").unlink()
    (folder_of_pairs / "0w.png").unlink()
    monkeypatch.setattr(Examples, "without_broken", lambda _: pytest.fail("all images were decoded beforehand"))
    data = {"source": str(folder_of_pairs / "pairs.jsonl"), "cache_dir": str(folder_of_pairs / "cache"), "on_broken": "skip"}
    first = train(configured("first", data=data))
    said = [record.message for record in caplog.records if "left out" in record.message]
    assert said[0].startswith("left out 2 of 8 rows that are broken: ")
    assert "0w.png" in said[0]
    assert "3w.png" in said[0]
    assert said[1].startswith("left out 2 of 6 rows that are broken: ")
    assert "4 rows from" in (first / "README.md").read_text()
    second = train(configured("second", data=data))
    assert (first / "metrics.jsonl").read_text() == (second / "metrics.jsonl").read_text()


@pytest.mark.parametrize("spoil", [cut, Path.unlink])
def test_where_every_row_is_broken_there_is_nothing_to_train_on(configured, folder_of_pairs, spoil):
    for path in folder_of_pairs.glob("*w.png"):
        spoil(path)
    with pytest.raises(UserError, match="8 of 8 rows are broken|none of 8 rows has images that can all be read"):
        train(configured(data={"source": str(folder_of_pairs / "pairs.jsonl"), "on_broken": "skip"}))


def test_a_scorer_reads_its_images_at_every_step_and_a_neighbor_stands_in_for_a_broken_row(scorer_run, folder_of_pairs, caplog):
    for name in ("0w.png", "5l.png"):
        cut(folder_of_pairs / name)
    out = train(scorer_run(data={"source": str(folder_of_pairs / "pairs.jsonl"), "on_broken": "skip"}))
    assert "left out a row that is broken, which makes 2 so far" in caplog.text
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 6
    with pytest.raises(UserError, match="0w.png|5l.png"):
        train(scorer_run("raised", data={"source": str(folder_of_pairs / "pairs.jsonl")}))
