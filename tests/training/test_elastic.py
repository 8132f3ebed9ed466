"""A run may go on with another number of processes, split among them or not: its weights are those of a run that was never stopped."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter

import pytest
import torch
from safetensors.torch import load_file
from torch.distributed.checkpoint import FileSystemReader

from mmalign.config import load_training
from mmalign.errors import UserError
from mmalign.training import sharded
from mmalign.training.run import check_launcher, train
from tests import tiny

FULL, LORA = "unet/diffusion_pytorch_model.safetensors", "pytorch_lora_weights.safetensors"
RESULTS = {"full": FULL, "lora": LORA}
ADAPTERS = {"full": {"name": "full"}, "lora": {"name": "lora", "rank": 4}}


@pytest.fixture(scope="module")
def made(base, pairs, tmp_path_factory):
    """Makes configurations in one folder, all of the same four steps of two rows."""
    folder = tmp_path_factory.mktemp("elastic")

    def make(out, adapter, processes, steps=4, **speed):
        settings = {"max_train_steps": steps, "train_batch_size": 2 // processes, "checkpointing_steps": 2, "ema_decay": 0.5}
        # where a gradient is next to nothing, Adam would make a step of full length out of its rounding
        settings |= {
            "adam_epsilon": 1e-2,
            "learning_rate": 1e-2,
            "logging_steps": 1,
            "report_to": "none",
            "resume_from_checkpoint": "latest",
        }
        values = {
            "model": {"pretrained": str(base)},
            "adapter": ADAPTERS[adapter],
            "data": {"source": str(pairs), "cache_dir": str(folder / "cache")},
            "method": {"name": "diffusion_dpo", "beta": 50},
            "train": settings,
            "speed": speed,
            "output_dir": str(folder / out),
        }
        path = folder / f"{out}-{processes}-{steps}.yaml"
        path.write_text(json.dumps(values))
        return path

    return make


def alone(path):
    return train(load_training(path, []))


def together(*paths):
    """Runs these in two processes that talk over gloo."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "tests.training.several", *map(str, paths)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *launcher], env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-30000:]


@pytest.fixture(scope="module")
def results(made):
    """The folders of all runs, by kind of adapter and by how they were run."""
    found = {(adapter, "never stopped"): alone(made(f"{adapter}-whole", adapter, 1)) for adapter in ADAPTERS}
    for adapter, speed in (("full", {"shard": True}), ("lora", {})):
        alone(made(f"{adapter}-1-2", adapter, 1, 2, **speed))
    together(
        made("full-2-1", "full", 2, 2, shard=True),
        made("full-1-2", "full", 2, shard=True),
        made("lora-2-1", "lora", 2, 2),
        made("lora-1-2", "lora", 2),
        made("lora-split", "lora", 2, shard=True),
    )
    root = found["full", "never stopped"].parent
    shutil.copytree(root / "full-2-1", root / "full-stopped")
    for adapter, speed in (("full", {"shard": True}), ("lora", {})):
        found[adapter, "one, then two"] = root / f"{adapter}-1-2"
        found[adapter, "two, then one"] = alone(made(f"{adapter}-2-1", adapter, 1, **speed))
    return found | {("lora", "two, split"): root / "lora-split", ("full", "two, stopped"): root / "full-stopped"}


CASES = [(adapter, how) for adapter in ADAPTERS for how in ("one, then two", "two, then one")] + [("lora", "two, split")]


@pytest.mark.parametrize(("adapter", "how"), CASES)
def test_weights_and_numbers_are_those_of_a_run_that_was_never_stopped(results, base, adapter, how):
    straight, other = results[adapter, "never stopped"], results[adapter, how]
    first, second = (load_file(folder / RESULTS[adapter]) for folder in (straight, other))
    assert first.keys() == second.keys()
    before = load_file(base / FULL) if adapter == "full" else {name: torch.zeros_like(first[name]) for name in first if "lora_B" in name}
    moved = max((first[name] - before[name]).abs().max().item() for name in before)
    assert max((first[name] - second[name]).abs().max().item() for name in first) < 0.01 * moved
    assert moved > 1e-3
    lines = [[json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()] for folder in (straight, other)]
    assert [line["step"] for line in lines[1]] == [1, 2, 3, 4]
    for left, right in zip(*lines, strict=True):
        assert left == pytest.approx(right, rel=5e-3, abs=1e-4)


def test_the_result_of_a_split_model_is_written_under_its_own_class(results):
    config = json.loads((results["full", "one, then two"] / "unet" / "config.json").read_text())
    assert config["_class_name"] == "UNet2DConditionModel"


def test_each_process_writes_its_half_and_nothing_is_written_twice(results):
    """Parameters, two moments of each, and their averages."""
    weights = sum(tensor.numel() for tensor in load_file(results["full", "never stopped"] / FULL).values())
    metadata = FileSystemReader(results["full", "two, stopped"] / "checkpoint-2" / sharded.SHARDS).read_metadata()
    written = Counter()
    for index, place in metadata.storage_data.items():
        chunks = getattr(metadata.state_dict_metadata[index.fqn], "chunks", ())
        written[place.relative_path] += sum(chunk.sizes.numel() for chunk in chunks if chunk.offsets == index.offset)
    steps = len([name for name in metadata.state_dict_metadata if name.endswith(".step")])
    assert sum(written.values()) == 4 * weights + steps
    assert len(written) == 2
    assert min(written.values()) > 0.4 * max(written.values())


def test_damaged_parts_are_said_in_a_sentence(made):
    folder = alone(made("damaged", "full", 1, 2, shard=True))
    part = next((folder / "checkpoint-2" / sharded.SHARDS).glob("*.distcp"))
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(UserError, match="remove this checkpoint and resume from an earlier one"):
        alone(made("damaged", "full", 1, shard=True))


def test_the_innermost_blocks_are_split_and_none_twice():
    unet = tiny.sdxl().unet
    found = sharded.blocks(unet)
    assert {type(block).__name__ for block in found} == {"BasicTransformerBlock", "ResnetBlock2D"}
    held = [id(parameter) for block in found for parameter in block.parameters()]
    assert len(held) == len(set(held))


def test_what_accelerate_would_split_in_its_own_way_is_refused_unless_the_run_does_it(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UserError, match="FSDP.*speed.shard true"):
        check_launcher()
    check_launcher(split=True)


def test_several_processes_of_which_accelerate_has_started_one_are_missed(monkeypatch):
    """What `accelerate launch --cpu --num_processes 2` leaves in the environment, and what torchrun does."""
    for name in ("ACCELERATE_MIXED_PRECISION", "MASTER_ADDR"):
        monkeypatch.setenv(name, "no")
    with pytest.raises(UserError, match="has started one; use torchrun"):
        check_launcher()
    monkeypatch.setenv("WORLD_SIZE", "2")
    check_launcher()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"speed": {"shard": True, "compile": "eager"}}, "speed.compile"),
        ({"speed": {"shard": True}, "train": {"optimizer": "adafactor"}}, "train.optimizer adafactor"),
        ({"speed": {"shard": True}, "train": {"mixed_precision": "fp16"}}, "train.mixed_precision fp16"),
    ],
)
def test_what_a_model_in_parts_cannot_do_is_refused(configured, changes, said):
    with pytest.raises(UserError, match=f"speed.shard does not go with {said}"):
        configured(**changes)


def test_a_pipeline_that_is_to_be_given_back_is_not_split(configured, pairs):
    with pytest.raises(UserError, match="to be given back"):
        train(configured(speed={"shard": True}), pipe=tiny.sd())
