"""The embedded pipelines: they load as any diffusers folder does, follow prompts they were not trained on, and are small."""

import json

import pytest
import torch
from diffusers import DiffusionPipeline

from mmalign.errors import UserError
from mmalign.shapes import models
from mmalign.shapes.captions import prompts
from mmalign.shapes.edges import measure_factors
from mmalign.shapes.oracle import matches
from mmalign.shapes.recipes.assess import assess, sample

MEGABYTE = 1e6
CLASSES = {
    "sdxl": "StableDiffusionXLPipeline",
    "sdxl_epsilon": "StableDiffusionXLPipeline",
    "sd3": "StableDiffusion3Pipeline",
    "sd": "StableDiffusionPipeline",
}


@pytest.fixture(scope="module", params=models.NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def pipe(name):
    return DiffusionPipeline.from_pretrained(models.path(name))


def test_a_plain_load_gives_the_stock_class(name, pipe):
    assert type(pipe).__name__ == CLASSES[name]
    assert pipe.tokenizer.model_max_length == 16


def test_it_follows_held_out_prompts(name, pipe):
    held_out = prompts("tuning")[:24]
    found = assess(sample(pipe, held_out, steps=12), held_out)
    assert min(found[attribute] for attribute in ("size", "color", "shape", "position", "background")) >= 0.6
    assert found["all_five"] >= 0.4


def test_style_varies_between_pictures_of_one_prompt(pipe):
    spread = measure_factors(sample(pipe, prompts("final")[:1] * 16, steps=12)).std(0)
    assert (spread[[0, 1, 2]] > 0.04).all()


def test_a_picture_depends_on_its_prompt_and_seed_alone(pipe):
    pair = sample(pipe, prompts("final")[:2], steps=4)
    torch.testing.assert_close(pair[:1], sample(pipe, prompts("final")[:1], steps=4), atol=1e-3, rtol=0)


def test_the_number_of_silent_tokens_hardly_changes_a_picture():
    pipe = DiffusionPipeline.from_pretrained(models.path("sd3"))
    few, many = (
        pipe(prompts("final")[0], num_inference_steps=6, generator=torch.Generator().manual_seed(0), output_type="pt", **length).images
        for length in ({"max_sequence_length": 16}, {})
    )
    assert (few - many).abs().mean() < 0.05


def test_weights_are_half_precision_safetensors_of_at_most_six_megabytes(name):
    files = [file for file in models.path(name).rglob("*") if file.is_file()]
    assert {file.suffix for file in files} <= {".json", ".safetensors", ".txt", ".md"}
    assert sum(file.stat().st_size for file in files) <= 6 * MEGABYTE


def test_all_weights_together_are_at_most_25_megabytes():
    assert sum(file.stat().st_size for file in models.WEIGHTS.rglob("*") if file.is_file()) <= 25 * MEGABYTE


def test_the_recipe_is_recorded(name):
    record = json.loads((models.path(name) / "recipe.json").read_text())
    assert record["effort"] == 1.0
    assert record["accuracy"][0]["all_five"] >= 0.5
    assert {"seed", "training", "versions", "wall_seconds", "parameters"} <= set(record)


def test_names_resolve_to_folders_and_other_sources_stay():
    assert models.resolve("shapes/sdxl") == str(models.path("sdxl"))
    assert models.resolve("stabilityai/sdxl-turbo") == "stabilityai/sdxl-turbo"
    with pytest.raises(UserError, match="sdxl"):
        models.resolve("shapes/sdlx")


def test_matches_of_noise_are_few():
    noise = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert matches(noise, prompts("final")[:4]).sum() <= 2
