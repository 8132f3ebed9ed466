"""The benchmark of scorers on a tiny architecture, and the arithmetic that it sets beside the time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.reward_bounds import image_flop, text_flop
from benchmarks.reward_inputs import TINY

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "rewards.py"


@pytest.mark.slow
def test_the_benchmark_of_rewards_runs_and_tells_what_is_missing(tmp_path):
    out = tmp_path / "report.json"
    words = ["--arch", "tiny", "--images", "3", "--image-size", "96", "--batch-size", "2", "--repeats", "1"]
    sides = ["--sides", "mmalign", "hpsv2_loop", "--work", str(tmp_path), "--out", str(out)]
    done = subprocess.run([sys.executable, SCRIPT, *words, *sides], capture_output=True, text=True, check=True)
    report = json.loads(out.read_text())
    scores = report["sides"]["mmalign"]["scores"]
    assert len(set(scores)) == 3
    assert all(-1 <= score <= 1 for score in scores)
    assert "No module named 'hpsv2'" in done.stdout
    assert report["bounds"]["image_flop"] == image_flop(TINY)
    assert str(tmp_path) not in out.read_text()


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
