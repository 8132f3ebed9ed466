"""Every configuration that trains a scorer loads, says what it costs, and trains as it stands on tiny models in the formats it names."""

import json
from pathlib import Path

import pytest

from mmalign import data, plugins, rewards
from mmalign.config import RunConfig, ScorerRunConfig, load_config, load_training, save_resolved
from mmalign.data.schema import Example
from mmalign.data.write import write_pickapic, write_ranked
from mmalign.errors import UserError
from mmalign.scorers.clip import ClipReward
from mmalign.training.run import train
from tests.scorers import clips
from tests.training.conftest import graded

FOLDER = Path(__file__).parents[2] / "configs" / "reward"
FILES = sorted(FOLDER.glob("*.yaml"))
SHORT = ["--train.max-train-steps", "1", "--train.lr-warmup-steps", "0", "--train.train-batch-size", "2", "--train.report-to", "none"]
SHORT += ["--train.dataloader-num-workers", "0", "--evaluation.steps", "1"]


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


def test_there_are_configs():
    assert {path.stem for path in FILES} >= {"pickscore_pickapic", "hpsv2_hpdv2", "shapes_clip"}


def test_it_loads_as_a_scorers_and_its_parts_exist(path, tmp_path):
    config = load_training(path)
    save_resolved(config, tmp_path / "saved.yaml")
    assert load_training(tmp_path / "saved.yaml") == config
    assert type(config) is ScorerRunConfig
    objective = config.method.build()
    assert {name: getattr(objective, name) for name in config.method.fields()} == config.method.fields()
    assert issubclass(plugins.load("mmalign.rewards", config.scorer.name), ClipReward)
    assert config.output_dir == Path("runs/reward") / path.stem


def test_its_header_says_command_hardware_cost_expectation_and_sources(path):
    header = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
    assert f"mmalign train configs/reward/{path.name}" in header
    for word in ("Hardware:", "Cost:", "Expected:", "Sources:"):
        assert word in header


def test_the_key_scorer_tells_the_kind(tmp_path):
    text = "data: {source: a}\nmethod: soft_pair\noutput_dir: b\n"
    (tmp_path / "scorer.yaml").write_text("scorer: pickscore\n" + text)
    (tmp_path / "model.yaml").write_text("model: {pretrained: shapes/sd}\n" + text)
    config = load_training(tmp_path / "scorer.yaml", ["--scorer.pretrained", "c", "--locking.image-layers", "3"])
    assert (config.scorer.pretrained, config.locking.image_layers) == ("c", 3)
    assert type(load_training(tmp_path / "model.yaml")) is RunConfig
    (tmp_path / "both.yaml").write_text("scorer: pickscore\nmodel: {pretrained: a}\n" + text)
    with pytest.raises(UserError, match="unknown key 'model'"):
        load_training(tmp_path / "both.yaml")
    with pytest.raises(UserError, match="did you mean 'hpsv2'"):
        load_training(tmp_path / "scorer.yaml", ["--scorer.name", "hpsv22"])
    assert load_config(tmp_path / "scorer.yaml", ["--scorer.name", "hpsv2"], ScorerRunConfig).scorer.version == "2.1"


def pickscore_pickapic(folder):
    """Pick-a-Pic's columns, ties and counts of prompts among them."""
    clips.clip(folder / "base")
    examples = [*graded(4), Example("a cat", graded(1)[0].images, preference=0.5)]
    write_pickapic(examples, folder / "pairs.parquet")
    rows = [{**row, "num_example_per_prompt": 2} for row in rows_of(folder / "pairs.parquet")]
    for split in ("train", "validation_unique"):
        written(rows, folder / "pickapic" / f"{split}-00000-of-00001.parquet")
    source = str(folder / "pickapic")
    return ["--scorer.pretrained", str(folder / "base"), "--data.source", source, "--evaluation.source", source]


def hpsv2_hpdv2(folder):
    """open_clip's folder, and lists of image files with marks for training, with ranks for the test."""
    clips.open_clip(folder / "base")
    for split, count in (("train", 2), ("test", 3)):
        (folder / split).mkdir()
        rows = []
        for index, example in enumerate(graded(3, count)):
            names = [f"{index}_{k}.png" for k in range(count)]
            for name, image in zip(names, example.images, strict=True):
                image.save(folder / split / name)
            marks = {"file_path": names, "human_preference": [1, 0]} if split == "train" else {"image_path": names, "rank": [0, 1, 2]}
            rows.append({"prompt": example.prompt, **marks})
        (folder / f"{split}.json").write_text(json.dumps(rows))
    options = ["--data.source", str(folder / "train.json"), "--evaluation.source", str(folder / "test.json")]
    return ["--scorer.pretrained", str(folder / "base"), "--locking.image-layers", "1", "--locking.text-layers", "1", *options]


def shapes_clip(folder):
    """Rankings of four pictures."""
    clips.clip(folder / "base")
    for name in ("rankings", "held_out"):
        write_ranked(graded(4, 4), folder / f"{name}.parquet")
    sources = ["--data.source", str(folder / "rankings.parquet"), "--evaluation.source", str(folder / "held_out.parquet")]
    return ["--scorer.pretrained", str(folder / "base"), *sources]


def rows_of(path):
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pylist()


def written(rows, path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


@pytest.mark.parametrize("made", [pickscore_pickapic, hpsv2_hpdv2, shapes_clip], ids=lambda made: made.__name__)
def test_it_trains_on_what_it_names_in_small(made, tmp_path):
    out = tmp_path / "out"
    config = load_training(FOLDER / f"{made.__name__}.yaml", [*made(tmp_path), *SHORT, "--output-dir", str(out)])
    train(config)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 1]
    scorer = rewards.load(config.scorer.name, pretrained=str(out), device="cpu")
    held_out = data.load(config.evaluation.name, config.evaluation.source, split=config.evaluation.split, **config.evaluation.columns)
    margins = []
    for example in held_out:
        scores = scorer.score([data.open_image(source) for source in example.images], example.prompt).tolist()
        margins += [scores[i] - scores[j] for i in range(len(scores)) for j in range(i + 1, len(scores))]
    unit = 1 if config.scorer.name == "pickscore" else scorer.clip.logit_scale.item()
    assert lines[-1]["eval_rewards/margins"] == pytest.approx(unit * sum(margins) / len(margins), rel=0.1, abs=0.1)  # in bfloat16
