"""The benchmark of caches runs all its sides, and what they leave out is the arithmetic that they say."""

import argparse
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import cache
from mmalign import pipelines

PAIRS = 2


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    words = ["cache.py", "--pairs", "4", "--batch-size", str(PAIRS), "--steps", "1", "--turns", "1", "--draws", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", words)
        options: argparse.Namespace = cache._options()
    return cache.measured(options, Path(tmp_path_factory.mktemp("cache")))


def forward_gflop():
    """One forward of the embedded denoiser on so many pairs."""
    family = pipelines.load("shapes/sdxl")
    channels, side = family.denoiser.config.in_channels, family.denoiser.config.sample_size
    noisy, sizes = torch.randn(2 * PAIRS, channels, side, side), torch.zeros(2 * PAIRS, 6)
    encoded = {name: value.repeat(2 * PAIRS, *[1] * (value.ndim - 1)) for name, value in family.encode_prompts(["a cat"]).items()}
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        family.predict(family.denoiser, noisy, torch.zeros(2 * PAIRS), encoded | {"time_ids": sizes})
    return counted.get_total_flops() / 1e9


def test_every_side_takes_steps_and_cached_errors_save_exactly_the_reference(report):
    sides = report["sides"]
    assert set(sides) == set(cache.SIDES)
    assert all(row["clock"] > 0 and row["memory_mib"] > 0 for row in sides.values())
    assert sides["encoded"]["gflop"] - sides["errors"]["gflop"] == pytest.approx(forward_gflop(), rel=1e-3)
    assert sides["live"]["gflop"] == pytest.approx(sides["diffusers"]["gflop"], rel=0.05)
    assert sides["live"]["gflop"] > sides["encoded"]["gflop"]


def test_the_table_has_a_line_for_each_side_and_no_place_of_this_machine(report):
    table = cache.text(report)
    assert all(f"| {name} |" in table for name in cache.SIDES.values())
    assert "/tmp" not in table
