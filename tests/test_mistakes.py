"""What a user gets wrong: one sentence that names the place and the remedy, exit status 2, nothing left behind."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from mmalign.cli import main
from tests import tiny


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tiny.sd().save_pretrained(folder)
    return folder


def png(path, size=(16, 16)):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def setup(base, tmp_path):
    """A configuration file over two pairs on disk, and what writes it again with changes."""
    good = [png(tmp_path / f"{name}.png").read_bytes() for name in ("a", "b")]
    pq.write_table(pa.table({"prompt": ["a cat"] * 2, "chosen": [good[0]] * 2, "rejected": [good[1]] * 2}), tmp_path / "pairs.parquet")
    values = {
        "model": {"pretrained": str(base)},
        "data": {"source": str(tmp_path / "pairs.parquet")},
        "method": {"name": "diffusion_dpo"},
        "train": {"max_train_steps": 2, "report_to": "none"},
        "output_dir": str(tmp_path / "out"),
    }

    def write(**changes):
        merged = {name: {**fields, **changes.get(name, {})} if isinstance(fields, dict) else fields for name, fields in values.items()}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(merged))
        return str(tmp_path / "config.yaml")

    return write


def said(capsys, words):
    """The one sentence of a command that fails."""
    assert main(words) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def test_the_configuration_is_good_to_begin_with(setup, tmp_path):
    assert main(["train", setup()]) == 0
    assert (tmp_path / "out" / "pytorch_lora_weights.safetensors").is_file()


def test_a_wrong_column(setup, tmp_path, capsys):
    good = png(tmp_path / "a.png").read_bytes()
    pq.write_table(pa.table({"prompt": ["a"], "choosen": [good], "rejected": [good]}), tmp_path / "wrong.parquet")
    sentence = said(capsys, ["train", setup(data={"source": str(tmp_path / "wrong.parquet")})])
    assert "choosen" in sentence
    assert "'chosen'" in sentence
    assert "wrong.parquet" in sentence


def test_a_truncated_picture(setup, tmp_path, capsys):
    good = png(tmp_path / "a.png").read_bytes()
    rows = {"prompt": ["a", "b"], "chosen": [good, good[:60]], "rejected": [good, good]}
    pq.write_table(pa.table(rows), tmp_path / "cut.parquet")
    sentence = said(capsys, ["train", setup(data={"source": str(tmp_path / "cut.parquet")})])
    assert "cut.parquet, row 1" in sentence
    assert "skip" in sentence
    assert (
        main(["train", setup(data={"source": str(tmp_path / "cut.parquet"), "on_broken": "skip"}), "--output-dir", str(tmp_path / "x")])
        == 0
    )


def test_an_unknown_key(setup, capsys):
    assert "did you mean 'learning_rate'?" in said(capsys, ["train", setup(train={"learning_rat": 1e-4})])
    assert "--train.learning-rate" in said(capsys, ["train", setup(), "--train.learning-rat", "1e-4"])
    assert "'beta'" in said(capsys, ["train", setup(method={"bta": 5})])


def test_missing_places(setup, tmp_path, capsys):
    assert "nowhere" in said(capsys, ["train", setup(data={"source": str(tmp_path / "nowhere")})])
    assert "nowhere" in said(capsys, ["train", setup(model={"pretrained": str(tmp_path / "nowhere")})])
    assert "nowhere.yaml" in said(capsys, ["train", str(tmp_path / "nowhere.yaml")])


def test_an_empty_data_set(setup, tmp_path, capsys):
    empty = pa.table({"prompt": pa.array([], pa.string()), "chosen": pa.array([], pa.binary()), "rejected": pa.array([], pa.binary())})
    pq.write_table(empty, tmp_path / "empty.parquet")
    assert "empty.parquet" in said(capsys, ["train", setup(data={"source": str(tmp_path / "empty.parquet")})])


def test_winners_alone_for_a_method_of_pairs(setup, tmp_path, capsys):
    good = png(tmp_path / "a.png").read_bytes()
    pq.write_table(pa.table({"prompt": ["a"], "chosen": [good]}), tmp_path / "winners.parquet")
    assert "winners.parquet" in said(capsys, ["train", setup(data={"source": str(tmp_path / "winners.parquet")})])


def test_rankings_for_a_method_of_pairs(setup, tmp_path, capsys):
    good = png(tmp_path / "a.png").read_bytes()
    pq.write_table(pa.table({"prompt": ["a"], "images": [[good] * 3], "scores": [[3.0, 2.0, 1.0]]}), tmp_path / "ranked.parquet")
    sentence = said(capsys, ["train", setup(data={"source": str(tmp_path / "ranked.parquet")})])
    assert "3 candidates" in sentence
    assert "compares 2" in sentence


def test_a_place_that_cannot_be_written(setup, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert "output_dir" in said(capsys, ["train", setup(), "--output-dir", str(tmp_path / "file" / "out")])


def test_another_family_than_the_model_is(setup, capsys):
    sentence = said(capsys, ["train", setup(model={"family": "sdxl"})])
    assert "StableDiffusionPipeline" in sentence
    assert "sdxl" in sentence


def test_a_rate_that_breaks_training(setup, capsys):
    options = ["--train.learning-rate", "1e30", "--train.max-train-steps", "9", "--train.max-grad-norm", "None"]
    sentence = said(capsys, ["train", setup(), *options])
    assert "step" in sentence
    assert "pairs.parquet, row" in sentence
