"""The tables of benchmarks/vlm_shapes.py, from cells made by hand."""

import json

import pytest

from benchmarks.vlm_shapes_table import cells_in, kl_at, table

DRIFT = [{"margin": 0.0, "kl": 0.0}, {"margin": 2.0, "kl": 0.4}, {"margin": 1.0, "kl": 0.5}, {"margin": 4.0, "kl": 2.0}]


@pytest.mark.parametrize(("margin", "kl"), [(0.0, 0.0), (1.0, 0.2), (2.0, 0.4), (3.0, 1.5), (9.0, 2.0)])
def test_the_divergence_is_read_where_the_margin_is_first_reached(margin, kl):
    assert kl_at(DRIFT, margin) == pytest.approx(kl)


def cell(method, seed, one, named, **more):
    return {
        "method": method,
        "seed": seed,
        "right": {"one": one, "named": named},
        "sets": {"named": ["2", "3", "4", "5"]},
        "drift": [],
        **more,
    }


def test_rates_are_means_over_seeds_and_questions(tmp_path):
    cells = [
        cell("base", 0, [1, 1], [1, 0, 0, 0]),
        cell("mia_dpo", 0, [1, 1], [1, 1, 0, 1]),
        cell("mia_dpo", 1, [1, 0], [1, 1, 1, 1]),
    ]
    for one in cells:
        (tmp_path / f"final-{one['method']}-{one['seed']}.json").write_text(json.dumps(one))
    rows = {line.split(" | ")[0].strip("| "): line for line in table(cells_in(tmp_path, "final")).splitlines()}
    assert "75.0" in rows["MIA-DPO"].split(" | ")[2]  # 3 of 4 about one picture
    assert rows["MIA-DPO"].split(" | ")[3].startswith("87.5")
    assert rows["MIA-DPO"].split(" | ")[4].startswith("+62.5")
    assert "100 / 100 / 50 / 100" in rows["MIA-DPO"]
    assert table(cells_in(tmp_path, "tuning")) == "there is no base yet"


def test_false_claims_are_a_share_of_claims(tmp_path):
    told = {"sets": {"named": ["2", "3", "4", "5"], "clips": ["clip", "clip", "moves"]}}
    sides = {
        "base": ([(6, 3), (2, 1)], []),
        "dpo": ([(6, 2), (2, 0)], [{"step": 0, "margin": 0.0, "kl": 0.0}, {"step": 1, "margin": 4.0, "kl": 2.0}]),
        "rrpo": ([(6, 0), (2, 0)], [{"step": 0, "margin": 0.0, "kl": 0.0}, {"step": 1, "margin": 2.0, "kl": 0.5}]),
    }
    for name, (claims, drift) in sides.items():
        right = {"one": [1], "named": [1, 1, 1, 1], "clips": [1, 0, 1]}
        one = {"method": name, "seed": 0, "right": right, "claims": claims, "drift": drift, **told}
        (tmp_path / f"final-{name}-0.json").write_text(json.dumps(one))
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in table(cells_in(tmp_path, "final")).splitlines() if "|" in line}
    assert rows["DPO"][2].startswith("25.0")
    assert rows["DPO"][3].startswith("-25.0")
    assert rows["RRPO"][2].startswith("0.0")
    # the smaller of the two margins is 2, where DPO has half of its divergence
    assert rows["DPO"][8].startswith("1.000")
    assert rows["RRPO"][8].startswith("0.500")
