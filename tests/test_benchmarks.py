"""The benchmark of scorers on a tiny architecture, and the arithmetic that it sets beside the time."""

import io
import json
import runpy
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import rewards as benchmark
from benchmarks.reward_bounds import image_flop, text_flop
from benchmarks.reward_inputs import TINY

FOLDER = Path(benchmark.__file__).parent
WORDS = ["--arch", "tiny", "--images", "3", "--image-size", "96", "--batch-size", "2", "--repeats", "1", "--loop-images", "2"]


@pytest.fixture
def in_this_process(monkeypatch):
    """Importing torch and open_clip in four processes takes most of a minute."""

    def run(command, **fields):
        monkeypatch.setattr(sys, "argv", command[1:])
        printed = io.StringIO()
        try:
            with redirect_stdout(printed):
                runpy.run_path(command[1], run_name="__main__")
        except ImportError as error:
            return subprocess.CompletedProcess(command, 1, printed.getvalue(), f"{type(error).__name__}: {error}\n")
        return subprocess.CompletedProcess(command, 0, printed.getvalue(), "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.syspath_prepend(FOLDER)


@pytest.mark.usefixtures("in_this_process")
def test_the_benchmark_of_rewards_runs_and_tells_what_is_missing(tmp_path, monkeypatch, capsys):
    out = tmp_path / "report.json"
    sides = ["--sides", "mmalign", "mmalign_single", "hpsv2_loop", "--work", str(tmp_path), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["rewards.py", *WORDS, *sides])
    benchmark.main()
    report = json.loads(out.read_text())
    batch, single = report["sides"]["mmalign"], report["sides"]["mmalign_single"]
    assert len(set(batch["scores"])) == 3
    assert single["scores"] == pytest.approx(batch["scores"][:2], abs=1e-6)
    assert "No module named 'hpsv2'" in capsys.readouterr().out
    assert str(tmp_path) not in out.read_text()
    assert report["bounds"]["image_flop"] == image_flop(TINY)


def test_the_arithmetic_is_what_torch_counts():
    import open_clip

    with torch.device("meta"):
        model = open_clip.CLIP(**TINY)
        pixels, tokens = torch.empty(1, 3, 224, 224), torch.empty(1, 77, dtype=torch.long)
    with FlopCounterMode(display=False) as counted:
        model.encode_image(pixels)
    assert counted.get_total_flops() == image_flop(TINY)
    with FlopCounterMode(display=False) as counted:
        model.encode_text(tokens)
    assert counted.get_total_flops() == text_flop(TINY)
