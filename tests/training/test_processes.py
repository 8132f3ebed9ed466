"""Two processes are one with the larger batch: the same rows, the same draws, the same weights up to rounding."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from mmalign.config import save_resolved
from mmalign.data.write import write_pickapic
from mmalign.training.run import train
from tests.training.conftest import SCORER_WEIGHTS, graded

LORA = "pytorch_lora_weights.safetensors"


def launched(config, path, processes=2):
    """Runs ``mmalign train`` in so many processes that talk over gloo."""
    save_resolved(config, path)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m", "mmalign", "train", str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *launcher], env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-30000:]
    return config.output_dir


def test_two_processes_are_one_with_twice_the_batch(configured, tmp_path):
    settings, mild = {"max_train_steps": 4, "gradient_accumulation_steps": 2}, {"beta": 50}
    one = train(configured("one", method=mild, train=settings | {"train_batch_size": 2}))
    cache = {"cache_dir": str(tmp_path / "cache")}
    two = launched(configured("two", method=mild, train=settings | {"train_batch_size": 1}, data=cache), tmp_path / "two.yaml")
    for left, right in zip(*(map(json.loads, (out / "metrics.jsonl").read_text().splitlines()) for out in (one, two)), strict=True):
        assert left == pytest.approx(right, rel=5e-3, abs=1e-4)
    first, second = (load_file(out / LORA) for out in (one, two))
    assert max((first[name] - second[name]).abs().max() for name in first) < 1e-4
    moved = max(tensor.abs().max() for name, tensor in first.items() if "lora_B" in name or "up" in name)
    assert moved > 1e-3
    assert torch.isfinite(moved)


def test_two_processes_train_and_measure_a_scorer_as_one(scorer_run, tmp_path):
    """Also where the weights of the rows are normalized: over both processes; and where one has fewer held-out rows to measure."""
    examples = [replace(example, weight=1 / (1 + i % 3)) for i, example in enumerate(graded(8))]
    write_pickapic(examples, tmp_path / "train.parquet")
    write_pickapic(graded(5, seed=1), tmp_path / "held_out.parquet")
    shared = {
        "data": {"source": str(tmp_path / "train.parquet")},
        "evaluation": {"source": str(tmp_path / "held_out.parquet"), "steps": 2, "batch_size": 2},
        "method": {"name": "tied_pair"},
        "locking": {"text_layers": 1},
    }
    settings = {"max_train_steps": 3, "gradient_accumulation_steps": 2, "adam_epsilon": 1.0}
    one = train(scorer_run("one", train=settings | {"train_batch_size": 2}, **shared))
    two = launched(scorer_run("two", train=settings | {"train_batch_size": 1}, **shared), tmp_path / "two.yaml")
    lines = [list(map(json.loads, (out / "metrics.jsonl").read_text().splitlines())) for out in (one, two)]
    assert [line["step"] for line in lines[0]] == [0, 1, 2, 2, 3, 3]
    for left, right in zip(*lines, strict=True):
        assert left == pytest.approx(right, rel=1e-3, abs=1e-4)
    first, second = (load_file(out / SCORER_WEIGHTS["clip"]) for out in (one, two))
    assert max((first[name] - second[name]).abs().max() for name in first) < 1e-4
