"""The benchmark of a step runs all its sides, which compute the same, and what caches leave out is the arithmetic that they say."""

import argparse
import json
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import step
from mmalign import pipelines

PAIRS = 2


@pytest.fixture(scope="module", params=["sdxl", "sd3"])
def report(request, tmp_path_factory):
    words = ["step.py", "--pairs", "4", "--batch-size", str(PAIRS), "--steps", "1", "--turns", "1", "--draws", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", words)
        options: argparse.Namespace = step._options()
    options.family, options.out = request.param, Path(tmp_path_factory.mktemp("out"))
    if request.param == "sd3":  # as on a GPU, where the sides are not all there at once
        options.one_by_one, options.warmup = True, 1
    return step.measured(options, Path(tmp_path_factory.mktemp("step")), lambda found: step.save([found], options)) | {"out": options.out}


def forward_gflop(name):
    """One forward of an embedded denoiser on so many pairs."""
    family = pipelines.load(f"shapes/{name}")
    channels, side = family.denoiser.config.in_channels, family.denoiser.config.sample_size
    noisy = torch.randn(2 * PAIRS, channels, side, side)
    encoded = {key: value.repeat(2 * PAIRS, *[1] * (value.ndim - 1)) for key, value in family.encode_prompts(["a cat"]).items()}
    sizes = {"time_ids": torch.zeros(2 * PAIRS, 6)} if name == "sdxl" else {}
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        family.predict(family.denoiser, noisy, torch.zeros(2 * PAIRS), encoded | sizes)
    return counted.get_total_flops() / 1e9


def test_every_side_takes_steps_and_cached_errors_save_exactly_the_reference(report):
    sides = report["sides"]
    assert set(sides) == {"peer", *step.SIDES}
    assert all(row["clock"] > 0 and row["memory_mib"] > 0 and 0 < row["share"] < 1 for row in sides.values())
    assert sides["encoded"]["gflop"] - sides["errors"]["gflop"] == pytest.approx(forward_gflop(report["family"]), rel=1e-3)
    assert sides["live"]["gflop"] > sides["encoded"]["gflop"]
    like_the_peer = {"sdxl": "live", "sd3": "encoded"}[report["family"]]
    assert sides[like_the_peer]["gflop"] == pytest.approx(sides["peer"]["gflop"], rel=0.05)


def test_losses_and_gradients_of_both_sides_are_equal_away_from_the_start(report):
    equal = report["equal"]
    assert equal["loss apart"] < 1e-5 * equal["loss"]
    assert equal["gradient apart"] < 1e-4
    assert abs(equal["loss"] - 0.6931) > 1e-3


def test_what_is_done_is_in_the_folder_before_the_end(report):
    (written,) = json.loads((report["out"] / "step_tiny.json").read_text())
    assert written == {name: value for name, value in report.items() if name != "out"}


def test_a_side_that_fails_is_told_beside_the_others(report):
    sides = report["sides"] | {"encoded": {"failed": "encoded: OutOfMemoryError"}}
    table = step.text([report | {"sides": sides}])
    assert "failed: encoded: OutOfMemoryError |" in table
    assert step.text([report]).count("\n") == table.count("\n")
    without_the_first = step.text([report | {"sides": sides | {"peer": {"failed": "out of memory"}}}])
    assert " | - | " in without_the_first


def test_the_table_has_a_line_for_each_side_and_no_place_of_this_machine(report):
    table = step.text([report])
    assert all(f"| {name} |" in table for name in [step.PEERS[report["family"]], *step.SIDES.values()])
    assert "/tmp" not in table
