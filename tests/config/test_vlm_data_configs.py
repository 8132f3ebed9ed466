"""Every configuration that makes data for vision-language models loads, says what it costs, and runs on a tiny model in its format."""

import json
from pathlib import Path

import pytest
from PIL import Image

from mmalign.cli import main
from mmalign.config import MiaConfig, RealignConfig, RrpoConfig, load_config, save_resolved
from tests import tiny_vlms
from tests.factory.mia.asked import questions

FOLDER = Path(__file__).parents[2] / "configs" / "vlm" / "data"
FILES = sorted(FOLDER.glob("*.yaml"))
KINDS = {"mia": MiaConfig, "rrpo": RrpoConfig, "realign": RealignConfig}
TINY = {"mia_llava15": "llava", "mia_qwen25": "qwen2_5_vl", "rrpo_qwen25": "qwen2_5_vl", "realign_llava16": "llava"}
CHEAP = {"mia": ["--max-new-tokens", "2", "--batch-size", "4", "--min-perplexity", "none", "--max-length-ratio", "none"], "realign": []}
CHEAP["mia"] += ["--kinds", "{sequence: {2: 1}}"]
CHEAP["rrpo"] = ["--max-new-tokens", "2", "--frames", "2", "--open-answers", "differs", "--rewriter.pretrained", "none"]


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


def test_it_loads_as_what_its_name_says(path, tmp_path):
    kind = KINDS[path.stem.partition("_")[0]]
    config = load_config(path, kind=kind)
    save_resolved(config, tmp_path / "saved.yaml")
    assert load_config(tmp_path / "saved.yaml", kind=kind) == config
    assert config.out == Path("runs/vlm") / path.stem


def test_its_header_says_command_hardware_cost_and_sources(path):
    header = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
    assert f"mmalign data {path.stem.partition('_')[0]} configs/vlm/data/{path.name}" in header
    for word in ("Hardware:", "Cost:", "Sources:"):
        assert word in header


def test_the_published_settings_are_in_the_one_for_llava():
    config = load_config(FOLDER / "mia_llava15.yaml", kind=MiaConfig)
    assert config.kinds == MiaConfig.model_fields["kinds"].get_default(call_default_factory=True)
    assert (config.layer, config.max_new_tokens, config.min_perplexity, config.max_chosen) == (16, 512, 1.1, 512)
    assert (config.noise, config.square, config.pool) == ("released", True, "folder")


@pytest.mark.parametrize("name", sorted(TINY))
def test_it_runs_on_a_tiny_model_of_its_family(name, tmp_path, capsys):
    what = name.partition("_")[0]
    rows = rows_for(what, tmp_path)
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    words = ["--vlm.pretrained", str(tiny_vlms.make(TINY[name], tmp_path / "base")), "--vlm.dtype", "float32"]
    words += ["--data.source", str(tmp_path / "rows.json"), "--out", str(tmp_path / "out"), *CHEAP[what]]
    words += ["--pool", str(tmp_path / "s")] if what == "realign" else []
    words += ["--layer", "none", "--noise", "none"] if name == "mia_llava15" else []
    # a tiny model has no room for the published number of pixels
    words += ["--processor", "{}"] if "qwen25" in name else []
    assert main(["data", what, str(FOLDER / f"{name}.yaml"), *words]) == 0
    assert f"of {4 if what == 'mia' else 3 if what == 'rrpo' else 4}" in capsys.readouterr().out


def rows_for(what, folder):
    """Rows with pictures in a folder, as each command reads them."""
    (folder / "s").mkdir()
    asked = questions(4)
    for row in asked:
        row.images[0].save(folder / "s" / f"{row.name}.png")
    if what == "mia":
        turns = [[{"from": "human", "value": f"<image>\n{r.question}"}, {"from": "gpt", "value": r.answer}] for r in asked]
        return [
            {"image": f"s/{i}.png", "conversations": t, "question": r.question, "answer": r.answer}
            for i, (r, t) in enumerate(zip(asked, turns, strict=True))
        ]
    if what == "rrpo":
        return [{"video": "s", "question": "What happens?", "answer": "a large red circle stays"} for _ in range(3)]
    Image.new("RGB", (30, 30), "red").save(folder / "s" / "red.png")
    return [{"images": [f"s/{i}.png"], "prompt": "What?", "chosen": "a", "rejected": "b"} for i in range(4)]
