"""The benchmark of scorers on a tiny architecture with the arithmetic that it sets beside the time, and that of methods in two steps."""

import importlib
import io
import json
import runpy
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import rewards as benchmark
from benchmarks import vlm
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


@pytest.mark.usefixtures("in_this_process")
def test_the_benchmark_of_vision_language_models_runs_without_its_peer(tmp_path, monkeypatch, capsys):
    out = tmp_path / "report.json"
    words = ["--size", "tiny", "--images", "1", "2", "--batch-size", "1", "--steps", "2", "--words", "4", "--turns", "1"]
    monkeypatch.setattr(sys, "argv", ["vlm.py", *words, "--work", str(tmp_path), "--out", str(out)])
    vlm.main()
    sides = json.loads(out.read_text())["sides"]
    for count in ("1", "2"):
        own, cached = sides["mmalign"][count], sides["mmalign_cached"][count]
        assert own["loss"] == pytest.approx(cached["loss"], abs=1e-6)
        assert own["samples_per_s"] > 0
        assert 0 <= own["above_rest_mib"] < own["peak_mib"]
    assert abs(sides["mmalign"]["1"]["loss"] - 0.693147) > 1e-4  # policy and reference differ already
    assert "No package metadata was found for trl" in capsys.readouterr().out
    assert str(tmp_path) not in out.read_text()


def test_the_first_batches_of_two_sides_are_compared(tmp_path):
    for side, value in (("mmalign", 1.0), ("trl", 1.5)):
        save_file({"layer": torch.tensor([value, 2.0])}, tmp_path / f"{side}_3.safetensors")
    found = {"mmalign": {"3": {"loss": 0.7, "tokens": [[1, 2]]}}, "trl": {"3": {"loss": 0.6, "tokens": [[1, 2]]}}}
    told = vlm._compared(found, "3", tmp_path)
    assert told == {"tokens_equal": True, "loss": pytest.approx(0.1), "gradient": 0.5, "largest_gradient": 2.0}
    found["trl"]["3"]["tokens"] = [[1, 3]]
    assert not vlm._compared(found, "3", tmp_path)["tokens_equal"]
    assert vlm._compared({"mmalign": found["mmalign"], "trl": {"error": "missing"}}, "3", tmp_path) == {}


@pytest.fixture
def methods(monkeypatch):
    """The scripts of the methods, which stand beside one another."""
    monkeypatch.syspath_prepend(FOLDER)
    return SimpleNamespace(**{name: importlib.import_module(f"methods_{name}") for name in ("cell", "world", "table")})


def test_a_cell_of_the_methods_holds_what_its_row_says(methods, tmp_path):
    world = methods.world.World("sdxl", 0, tmp_path / "world", pair_prompts=6, final_prompts=2)
    cell = methods.cell.Cell(world, "mapo", steps=2, threads=1, folder=tmp_path)
    methods.cell.draw(world, threads=1)
    methods.cell.run(cell)
    (found,) = methods.table.cells_in(tmp_path)
    assert found["settings"]["train"]["train_batch_size"] == 16
    assert found["settings"]["method"]["name"] == "mapo"
    assert len(found["judged"]["scores"]["shapes_clip"]["aligned"]) == 2
    assert found["spent"]["seconds_per_step"] > 0
    assert found["spent"]["peak_mib"] > 0
    assert methods.table.table([found]).count("\n") == 2


def test_seeds_are_repeats_of_a_prompt(methods):
    def cell(seed, aligned):
        scores = {name: {"base": [4.0, 4.0, 5.0, 5.0], "aligned": aligned} for name in ("oracle", "shapes_clip")}
        spread = {"base": {"value": 0.2}, "aligned": {"value": 0.1}}
        spent = {"seconds_per_step": 1.0, "peak_mib": 3.0}
        return {"family": "sd3", "method": "sft", "seed": seed, "judged": {"scores": scores, "diversity": spread}, "spent": spent}

    cells = [cell(0, [5.0, 4.0, 5.0, 5.0]), cell(1, [5.0, 5.0, 5.0, 4.0])]
    pooled = methods.table.wins(cells, "oracle")
    assert pooled.n == 4
    assert pooled.win_rate == (1 + 0.75 + 0.5 + 0.25) / 4
    row = methods.table.table(cells).splitlines()[-1]
    assert "| 0, 1 | 62.5 (" in row
    assert "| 50.0 to 75.0 | 0.50 | 1.00 | 3 |" in row
    assert len(methods.table.table(cells, by_seed=True).splitlines()) == 4
