"""What a card says of an evaluation, and what the hub gets of its header."""

import json

import pytest

from mmalign.delivery.card import find_report, for_hub, read_report, with_results
from mmalign.errors import UserError

CARD = """---
library_name: diffusers
base_model: {base}
tags:
- lora
---

# mine

| | |
|---|---|
| Base | it |

## Use

pipe.load_lora_weights("THIS_FOLDER")
"""


def row(name, rate, low, high, labels=False):
    means = {"base_mean": 1.0, "aligned_mean": 1.5, "base_median": 1.0, "aligned_median": 1.5}
    counts = {"n": 200, "wins": 1, "ties": 0, "losses": 0, "p_value": 0.1, "difference": {"value": 0.5, "low": 0.4, "high": 0.6}}
    return {"name": name, "reward": name, "used_for_labels": labels, "win_rate": rate, "low": low, "high": high} | means | counts


def report(**changes):
    interval = {"value": 0.5, "low": 0.4, "high": 0.6}
    return {
        "aligned_to": "hpsv2",
        "comparisons": [row("hpsv2", 0.71, 0.65, 0.77, True), row("pickscore", 0.52, 0.45, 0.59)],
        "control": row("", 0.49, 0.42, 0.56),
        "shares": {"oracle": {"threshold": 5.0, "is_maximum": True, "base": interval, "aligned": interval, "difference": interval, "n": 9}},
        "diversity": {"base": {"value": 0.2}, "aligned": {"value": 0.15}},
        "versions": {"torch": "2.15.0"},
        "command": "mmalign evaluate it.yaml",
        "config": {"num_inference_steps": 28, "guidance_scale": 7.0},
    } | changes


def test_the_table_has_every_reward_with_its_interval_and_the_control():
    card = with_results(CARD.format(base="a/b"), report(), "report/side_by_side.png")
    for said in (
        "Under `hpsv2` the aligned model beats its base: it wins 71.0% of comparisons (65.0% to 77.0%, 200 prompts).",
        "| `hpsv2` (made the labels) | 71.0% | 65.0% to 77.0% | 200 | 1 | 1.5 |",
        "| `pickscore` (made no labels) | 52.0% | 45.0% to 59.0% | 200 | 1 | 1.5 |",
        "| control: base against base | 49.0% | 42.0% to 56.0% | 200 | 1 | 1.5 |",
        "0.75 times as different",
        "![Base and aligned, the same prompts and noise](report/side_by_side.png)",
        "`mmalign evaluate it.yaml` (torch 2.15.0). Drawn in 28 steps with guidance 7.",
    ):
        assert said in card
    assert card.index("| Base | it |") < card.index("## Base against aligned") < card.index("## Use")


def test_a_second_evaluation_replaces_the_first():
    first = with_results(CARD.format(base="a/b"), report())
    worse = report(comparisons=[row("hpsv2", 0.3, 0.2, 0.4, True)], control=None, shares={}, diversity={})
    second = with_results(first, worse)
    assert second.count("## Base against aligned") == 1
    assert "71.0%" not in second
    assert "is worse" in second
    assert second == with_results(CARD.format(base="a/b"), worse)


def test_the_header_names_a_base_only_where_the_hub_has_it(tmp_path):
    said = for_hub(CARD.format(base="stabilityai/stable-diffusion-xl-base-1.0"))
    assert "base_model: stabilityai/stable-diffusion-xl-base-1.0\nbase_model_relation: adapter\n" in said
    for local in ("shapes/sdxl", str(tmp_path), "./models/mine"):
        assert "base_model" not in for_hub(CARD.format(base=local))
    assert for_hub(CARD.format(base="shapes/sdxl")).endswith(CARD.partition("---\n\n")[2])


def test_the_newest_report_below_a_run_is_found(tmp_path):
    assert find_report(tmp_path) is None
    (tmp_path / "report").mkdir()
    place = tmp_path / "report" / "report.json"
    place.write_text(json.dumps(report()))
    assert find_report(tmp_path) == find_report(tmp_path, tmp_path / "report") == place
    assert read_report(place)["aligned_to"] == "hpsv2"
    place.write_text("{}")
    with pytest.raises(UserError, match="holds no comparisons"):
        read_report(place)
    with pytest.raises(UserError, match=r"there is no report.json at"):
        find_report(tmp_path, tmp_path / "other")
