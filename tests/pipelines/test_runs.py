"""Whole runs of every family beyond the first ones, from a folder of the published layout: caches, resume, and what they leave."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mmalign import pipelines
from mmalign.config import from_mapping
from mmalign.diffusion.aligned import Aligned
from mmalign.diffusion.draw import draw
from mmalign.errors import UserError
from mmalign.training.opened import Held
from mmalign.training.run import train
from tests import tiny_families
from tests.pipelines.restated import frames, side

PROMPTS = ["a red circle", "a photo of a cat", "two green dogs on a white table"]


@pytest.fixture(params=sorted(tiny_families.PIPELINES))
def family(request, tmp_path):
    made = pipelines.load(tiny_families.PIPELINES[request.param]())
    made.pipe.save_pretrained(tmp_path / "base")
    return made


@pytest.fixture
def pairs(family, tmp_path):
    """Pairs of pictures of two shapes; for models of films, of folders of frames."""
    rows, numbers = ["prompt,chosen,rejected"], np.random.default_rng(0)
    for row, prompt in enumerate(PROMPTS * 2):
        names = [f"{row}_{which}" if frames(family) else f"{row}_{which}.png" for which in "ab"]
        size = (64, 32, 3) if row % 2 else (48, 48, 3)
        for name in names:
            for file in [f"{name}/{frame:03d}.png" for frame in range(6)] if frames(family) else [name]:
                (tmp_path / file).parent.mkdir(exist_ok=True)
                Image.fromarray(numbers.integers(0, 256, size, dtype=np.uint8)).save(tmp_path / file)
        rows.append(f"{prompt},{','.join(names)}")
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    return tmp_path / "pairs.csv"


def settings(family, tmp_path, pairs, out, **train_settings):
    side_of = side(family)
    clip = {"frames": frames(family).get("num_frames")}
    return from_mapping(
        {
            "model": {"pretrained": str(tmp_path / "base")},
            "adapter": {"rank": 2},
            "data": {
                "source": str(pairs),
                "resolution": side_of,
                "cache_dir": str(tmp_path / "cache"),
                "buckets": True,
                "bucket_sizes": [[side_of, side_of], [side_of, 2 * side_of]],
                "bucket_min_rows": 1,
                "caption_dropout": 0.5,
                **clip,
            },
            "method": {"name": "diffusion_dpo", "beta": 500},
            "train": {
                "train_batch_size": 3,
                "learning_rate": 1e-2,
                "checkpointing_steps": 2,
                "report_to": "none",
                "max_train_steps": 4,
                **train_settings,
            },
            "output_dir": str(tmp_path / out),
        }
    )


def test_a_run_and_a_resumed_one_leave_the_same_adapter_which_draws_another_picture(family, tmp_path, pairs):
    whole = train(settings(family, tmp_path, pairs, "whole"))
    half = settings(family, tmp_path, pairs, "half", max_train_steps=2)
    train(half)
    again = train(settings(family, tmp_path, pairs, "half", resume_from_checkpoint="latest"))
    name = "pytorch_lora_weights.safetensors" if hasattr(family.pipe, "load_lora_weights") else "adapter_model.safetensors"
    first, second = load_file(whole / name), load_file(again / name)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(tensor.abs().max() > 0 for key, tensor in first.items() if "lora_B" in key)

    call = {"height": side(family), "width": side(family), "num_inference_steps": 2, **frames(family)}
    sides = Aligned(pipelines.load(tmp_path / "base"), whole, **call)
    before, aligned = sides.base(PROMPTS, [1, 2, 3]), sides.aligned(PROMPTS, [1, 2, 3])
    assert not torch.allclose(aligned, before, atol=1e-4)
    assert torch.equal(sides.base(PROMPTS, [1, 2, 3]), before)
    sides.close()
    card = (whole / "README.md").read_text()
    assert ("load_lora_weights" if hasattr(family.pipe, "load_lora_weights") else "PeftModel.from_pretrained") in card


def test_what_films_cannot_be_asked_for_is_told_before_anything_is_read(tmp_path):
    pipelines.load(tiny_families.wan()).pipe.save_pretrained(tmp_path / "wan")
    tiny_families.sana().save_pretrained(tmp_path / "sana")

    def refused(base, **sections):
        data = {"source": str(tmp_path / "none.csv"), **sections.pop("data", {})}
        values = {
            "model": {"pretrained": str(tmp_path / base)},
            "data": data,
            "method": "diffusion_dpo",
            "output_dir": str(tmp_path / "out"),
        }
        with pytest.raises(UserError) as caught:
            train(from_mapping(values | sections))
        return str(caught.value)

    assert "data.frames is for models of films, which sana is not" in refused("sana", data={"frames": 5})
    assert "a multiple of 4 frames and one; set 5" in refused("wan", data={"frames": 7})
    assert "none.csv" in refused("wan", data={"frames": 5})


def test_a_pipeline_with_two_denoisers_is_refused():
    pipe = tiny_families.wan()
    pipe.register_to_config(boundary_ratio=0.875)
    with pytest.raises(UserError, match="two denoisers"):
        pipelines.load(pipe)


def test_a_text_encoder_in_training_mode_does_not_drop_out(tmp_path):
    """A pipeline put together from parts has one; its prompts are encoded as those of a loaded one, and it is given back as it was."""
    family = pipelines.load(tiny_families.flux())
    expected = family.encode_prompts(PROMPTS)
    family.pipe.text_encoder_2.train()
    assert not torch.equal(family.encode_prompts(PROMPTS)["encoder_hidden_states"], expected["encoder_hidden_states"])
    opened = Held(family)
    with opened.having(*opened.text_parts):
        assert torch.equal(family.encode_prompts(PROMPTS)["encoder_hidden_states"], expected["encoder_hidden_states"])
    assert family.pipe.text_encoder_2.training


def test_films_are_not_drawn_where_pictures_are_wanted():
    with pytest.raises(UserError, match="WanPipeline draws films, and pictures are wanted here"):
        draw(tiny_families.wan(), ["a cat"], [0])
