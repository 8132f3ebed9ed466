"""Runs over full caches: the same numbers, with nothing loaded that they replace."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from mmalign.cli import main
from mmalign.config import save_resolved
from mmalign.data.cache_folder import CacheFolder
from mmalign.errors import UserError
from mmalign.training import fill as filling
from mmalign.training import reference, reference_errors
from mmalign.training.fill import fill
from mmalign.training.prepared import prepared
from mmalign.training.run import make_accelerator, train
from tests.training.test_resume import AGAIN, Interrupted, assert_equal_runs, interrupted_at

WEIGHTS = {"lora": "pytorch_lora_weights.safetensors", "full": "unet/diffusion_pytorch_model.safetensors"}
ENCODERS = ("vae", "text_encoder")
# 10 rows, 4 in a step: epochs end within a batch, and the third one comes back to the first draws
DRAWS = {"reference_draws": 2, "caption_dropout": 0.4, "random_flip": True}
STEPS = {"max_train_steps": 7, "train_batch_size": 2, "gradient_accumulation_steps": 2, "logging_steps": 1}


def log(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def assert_same_weights(first, second, name):
    left, right = load_file(first / name), load_file(second / name)
    assert left.keys() == right.keys()
    assert all(torch.equal(left[key], right[key]) for key in left)


@pytest.fixture(scope="module")
def own_base(base, tmp_path_factory):
    """A copy of the base whose files a test may break."""
    return Path(shutil.copytree(base, tmp_path_factory.mktemp("own") / "base"))


def broken(path):
    """Zeros in place of a file's content, with the size and the time that it had."""
    stat = path.stat()
    path.write_bytes(bytes(stat.st_size))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize("adapter", ["lora", "full"])
def test_with_full_caches_neither_encoders_nor_the_reference_are_asked(adapter, configured, own_base, tmp_path, monkeypatch):
    """First a run that computes everything itself; then one over its caches, with encoders of zeros and no reference to be had."""
    own = Path(shutil.copytree(own_base, tmp_path / "base"))
    shared = {"model": {"pretrained": str(own)}, "adapter": {"name": adapter}, "train": STEPS, "method": {"beta": 50}}
    alone = train(configured("alone", data=DRAWS, **shared))
    data = DRAWS | {"cache_dir": str(tmp_path / "cache")}
    first = train(configured("first", data=data, **shared))
    for part in ENCODERS:
        (weights,) = (own / part).glob("*.safetensors")
        broken(weights)

    def refuse(*_):
        raise AssertionError("the reference was made or asked")

    monkeypatch.setattr("mmalign.training.trainable.copy_of", refuse)
    monkeypatch.setattr(reference.AdapterOff, "__call__", refuse)
    second = train(configured("second", data=data, **shared))
    for out in (first, second):
        assert log(out) == log(alone)
        assert_same_weights(out, alone, WEIGHTS[adapter])
    with pytest.raises(UserError, match="cannot load"):
        train(configured("third", data=DRAWS, **shared))


def test_caches_are_filled_ahead_a_part_by_each_process_and_a_stopped_fill_goes_on(configured, tmp_path, monkeypatch, capsys):
    config = configured(data=DRAWS | {"cache_dir": str(tmp_path / "cache"), "limit": 5}, method={"beta": 50}, train=STEPS)
    ready = prepared(config, make_accelerator(config.train, config.output_dir))
    asked = []
    original = reference_errors.DiffusionPolicy.prepare
    monkeypatch.setattr(reference_errors.DiffusionPolicy, "prepare", lambda *a: asked.append(a[1].keys) or original(*a))

    def process(index):
        return SimpleNamespace(
            process_index=index, num_processes=2, is_main_process=not index, device=torch.device("cpu"), autocast=torch.no_grad
        )

    assert reference_errors.fill_errors(ready, process(0)) == 6
    assert reference_errors.fill_errors(ready, process(1)) == 4
    assert len(set(asked)) == len(asked) == 10
    assert len(reference_errors.missing_errors(ready.dataset, CacheFolder.at(config.data.cache_dir).errors, 2)) == 0
    asked.clear()
    assert reference_errors.fill_errors(ready, process(0)) == 0
    # what a kill lost is all that is computed again
    errors = CacheFolder.at(config.data.cache_dir).errors
    errors.drop(errors.shards[0])
    lost = len(errors.shards[0])
    lines = fill(config)
    assert len(asked) == lost > 0
    assert lines[0] == f"computed {lost} reference errors here"
    assert [line.split()[-3] for line in lines[3:]] == ["20", "3", "10"]
    save_resolved(config, tmp_path / "run.yaml")
    capsys.readouterr()
    assert main(["data", "cache", str(tmp_path / "run.yaml"), "--list"]) == 0
    assert capsys.readouterr().out.splitlines() == lines[1:]
    pruned = fill(config.model_copy(update={"data": config.data.model_copy(update={"random_flip": False})}), prune=True)
    assert not any("images" in line for line in pruned if line.startswith("removed"))
    other = config.model_copy(update={"data": config.data.model_copy(update={"resolution": 8})})
    assert fill(other, prune=True)[1].startswith("removed 20 images that this run does not read")
    assert filling.listed(CacheFolder.at(config.data.cache_dir))[2].split()[1] == "20"


def test_a_run_over_fixed_draws_that_was_stopped_ends_as_one_left_alone(configured, tmp_path):
    settings = {"data": DRAWS, "train": STEPS | {"checkpointing_steps": 2}, "method": {"beta": 50}}
    expected = train(configured("whole", **settings))
    settings["data"] = DRAWS | {"cache_dir": str(tmp_path / "cache")}
    with pytest.raises(Interrupted):
        interrupted_at(5, lambda: train(configured("part", **settings)))
    assert_equal_runs(expected, train(configured("part", **settings | {"train": settings["train"] | AGAIN})))


def test_the_plan_says_what_is_read_and_what_is_missing_and_writes_nothing(configured, tmp_path, capsys):
    data = DRAWS | {"cache_dir": str(tmp_path / "cache")}
    config = configured("out", data=data, train=STEPS)
    train(config, dry_run=True)
    said = capsys.readouterr().out
    # 20 images and their mirrored selves: two tensors of 4 x 8 x 8 numbers each
    assert f"about 40 images, {40 * 2 * 256 * 4 / 1024:.1f} KiB;" in said
    assert "20 reference errors, 160 B" in said
    assert "its errors on 2 fixed draws of a row, of which this run meets 2" in said
    assert not (tmp_path / "cache").exists()
    fill(config)
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmalign.training.opened.OnDisk.having", lambda *_: pytest.fail("an encoder was loaded"))
        train(config, dry_run=True)
    assert "all there, no forward of it is needed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": {"name": "dspo"}}, "DSPO compares its predictions.*reference_draws to 0"),
        ({"method": {"name": "sdpo", "method": "dspo"}}, "SDPO compares its predictions"),
        ({"method": {"name": "seppo"}, "online": {"keep": "opponent", "reference": "member"}}, "reference_draws does not go with online"),
    ],
    ids=["dspo", "sdpo of dspo", "online"],
)
def test_what_errors_are_not_enough_for_is_refused(configured, changes, said):
    with pytest.raises(UserError, match=said):
        train(configured(data={"reference_draws": 2}, **changes))


def test_a_safeguarded_method_and_shorter_numbers_go_with_fixed_draws(configured, tmp_path):
    data = {"reference_draws": 1, "cache_dir": str(tmp_path / "cache"), "cache_dtype": "float16"}
    out = train(configured(method={"name": "sdpo", "method": {"name": "diffusion_dpo", "beta": 50}}, data=data))
    assert log(out)[0]["loss"] == pytest.approx(0.693147, abs=1e-5)
    images = CacheFolder.at(tmp_path / "cache").images
    entry = images.get(images.shards[0].groups[0][:32])
    assert {tensor.dtype for tensor in entry.values()} == {torch.float16}


def test_only_runs_with_pictures_to_cache_are_taken(scorer_run, configured):
    with pytest.raises(UserError, match=r"data.cache_dir is not set"):
        fill(configured())
    with pytest.raises(UserError, match="align an image generator"):
        fill(scorer_run())
