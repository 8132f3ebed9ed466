"""A LoRA for a pipeline that reads none by itself: all that draws with it draws the same picture, and so does a process without mmalign."""

import re
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mmalign import pipelines
from mmalign.cli import main
from mmalign.compare import Studio, View
from mmalign.config import EvaluateConfig, GenerateConfig, from_mapping
from mmalign.delivery.export import export
from mmalign.diffusion.adapters import PEFT_CONFIG, PEFT_WEIGHTS
from mmalign.diffusion.aligned import Aligned
from mmalign.diffusion.draw import eight_bits
from mmalign.errors import UserError
from mmalign.evaluation.run import run as evaluate
from mmalign.factory import generate
from mmalign.images import open_image
from mmalign.training.run import train
from tests import tiny_families

PROMPT = "a red circle"
CALL = {"num_inference_steps": 2, "guidance_scale": 2.0}
STOCK = """
import sys, torch
{usage}
pipe.set_progress_bar_config(disable=True)
call = {{"num_inference_steps": 2, "guidance_scale": 2.0, "use_resolution_binning": False}}  # a tiny one has no bins
made = pipe("{prompt}", generator=torch.Generator().manual_seed(3), output_type="pt", **call).images[0]
torch.save(made.clone(), sys.argv[1])
assert not [name for name in sys.modules if name.split(".")[0] == "mmalign"]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a short run with averages, on pairs of noise; the base lies beside it."""
    place = tmp_path_factory.mktemp("pixart")
    tiny_families.pixart().save_pretrained(place / "base")
    numbers, rows = np.random.default_rng(0), ["prompt,chosen,rejected"]
    for row in range(4):
        for name in "ab":
            Image.fromarray(numbers.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(place / f"{row}{name}.png")
        rows.append(f"{PROMPT},{row}a.png,{row}b.png")
    (place / "pairs.csv").write_text("\n".join(rows))
    (place / "prompts.txt").write_text(PROMPT)
    return train(
        from_mapping(
            {
                "model": {"pretrained": str(place / "base")},
                "adapter": {"rank": 2, "dora": True},
                "data": {"source": str(place / "pairs.csv"), "resolution": 16},
                "method": {"name": "diffusion_dpo", "beta": 500},
                "train": {"max_train_steps": 3, "learning_rate": 0.05, "checkpointing_steps": 3, "ema_decay": 0.5, "report_to": "none"},
                "output_dir": str(place / "run"),
            }
        )
    )


def base(run):
    return pipelines.load(run.parent / "base")


@pytest.fixture(scope="module")
def expected(run):
    """A picture (1, 3, H, W) by the aligned model, which is not the base's."""
    sides = Aligned(base(run), run, **CALL)
    made = sides.aligned([PROMPT], [3])
    assert not torch.allclose(made, sides.base([PROMPT], [3]), atol=1e-3)
    return made


def pixels(made):
    return eight_bits(made)[0].permute(1, 2, 0).numpy()


def test_comparing_draws_it(run, expected):
    view = View(PROMPT, seeds=(3,), steps=2, guidance=2.0, width=16, height=16, models=("mine",))
    for place in (run, run / PEFT_WEIGHTS):
        (drawn,) = Studio(base(run), {"mine": place}).draw(view)
        assert np.array_equal(np.asarray(drawn.image), pixels(expected))


def test_generate_draws_it_and_its_scale_changes_it(run):
    models = [
        {"pretrained": str(run.parent / "base"), "adapter_path": str(run), "adapter_scale": scale, "label": f"at {scale}"}
        for scale in (1.0, 0.0)
    ]
    models.append({"pretrained": str(run.parent / "base"), "label": "base"})
    values = {"models": models, "prompts": str(run.parent / "prompts.txt"), "out": str(run.parent / "pictures"), **CALL}
    generate.run(from_mapping({**values, "height": 16, "width": 16, "call": {"use_resolution_binning": False}}, GenerateConfig))
    rows = {row["model"]: row for row in pq.read_table(run.parent / "pictures").to_pylist()}
    made = {name: np.asarray(open_image(row["image"]["bytes"])) for name, row in rows.items()}
    sides = Aligned(base(run), run, **CALL, height=16, width=16, use_resolution_binning=False)
    assert np.array_equal(made["at 1.0"], pixels(sides.aligned([PROMPT], [rows["at 1.0"]["noise_seed"]])))
    assert np.array_equal(made["base"], pixels(sides.base([PROMPT], [rows["base"]["noise_seed"]])))
    # a DoRA at the scale 0 keeps its magnitudes, so that nothing is said of it but that it is another picture
    assert not np.array_equal(made["at 0.0"], made["at 1.0"])


def test_evaluate_draws_it(run):
    values = {"pretrained": str(run.parent / "base"), "adapter_path": str(run), "prompts": str(run.parent / "prompts.txt")}
    values |= {"rewards": ["colorfulness"], "aligned_to": "colorfulness", "output_dir": str(run.parent / "report"), **CALL}
    assert evaluate(from_mapping(values, EvaluateConfig)).is_file()


@pytest.mark.parametrize("form", ["diffusers", "merged", "ema"])
def test_every_form_that_is_exported_draws_it(run, expected, form, tmp_path):
    """The run's result are its averages, and those of its last checkpoint are the same."""
    place = export(run, form, out=tmp_path / "out")
    if form == "merged":
        made = pipelines.load(place).sample([PROMPT], [3], **CALL)
    else:
        assert {PEFT_WEIGHTS, PEFT_CONFIG} <= {path.name for path in place.iterdir()}
        made = Aligned(base(run), place, **CALL).aligned([PROMPT], [3])
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=0)


def test_averages_of_the_last_checkpoint_are_the_result(run, tmp_path):
    averaged, result = load_file(export(run, "ema", out=tmp_path / "out") / PEFT_WEIGHTS), load_file(run / PEFT_WEIGHTS)
    assert averaged.keys() == result.keys()
    assert all(torch.equal(averaged[name], result[name]) for name in result)


def test_another_number_format(run, tmp_path):
    place = export(run, "diffusers", out=tmp_path / "half", dtype="float16")
    assert {tensor.dtype for tensor in load_file(place / PEFT_WEIGHTS).values()} == {torch.float16}


def test_the_cards_lines_load_it_in_a_process_without_mmalign(run, expected, tmp_path):
    usage = re.search(r"```python\n(.*?)\n```", (run / "README.md").read_text(), flags=re.DOTALL)[1]
    assert usage.splitlines()[-1] == 'pipe.transformer = PeftModel.from_pretrained(pipe.transformer, "THIS_FOLDER")'
    script = tmp_path / "stock.py"
    script.write_text(STOCK.format(usage=usage.replace("THIS_FOLDER", str(run)), prompt=PROMPT))
    finished = subprocess.run(
        [sys.executable, "-I", str(script), str(tmp_path / "made.pt")], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert finished.returncode == 0, finished.stderr
    torch.testing.assert_close(torch.load(tmp_path / "made.pt", weights_only=True), expected[0], atol=1e-5, rtol=0)


def test_what_is_pushed_holds_it_with_its_configuration(run, capsys):
    assert main(["push", str(run), "--repo", "me/mine", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert PEFT_WEIGHTS in said
    assert PEFT_CONFIG in said


def test_an_adapter_of_another_model_is_told(run, tmp_path):
    tiny_families.sana().save_pretrained(tmp_path / "sana")
    with pytest.raises(UserError, match="neither pytorch_lora_weights.safetensors nor a folder transformer"):
        Aligned(pipelines.load(tmp_path / "sana"), run)
