"""The build, end to end, with two steps of everything."""

import json

import pytest
import torch
from diffusers import DiffusionPipeline

from mmalign import rewards
from mmalign.errors import UserError
from mmalign.shapes import build, models
from mmalign.shapes.captions import prompts
from mmalign.shapes.recipes import sd3, text, vae
from mmalign.shapes.recipes.denoise import diffusion_noising, flow_noising
from mmalign.shapes.recipes.draws import random_pictures


@pytest.fixture(scope="module")
def shared():
    torch.set_num_threads(1)
    return build.prepare(seed=0, effort=0.001)


@pytest.mark.parametrize("name", models.NAMES)
def test_a_few_steps_give_a_folder_that_loads_and_a_recipe(shared, name, tmp_path):
    record = build.build(name, shared, tmp_path / name, seed=0, effort=0.001)
    pipe = DiffusionPipeline.from_pretrained(tmp_path / name)
    assert pipe("a small red circle", num_inference_steps=2, output_type="pt").images.shape == (1, 3, 64, 64)
    assert json.loads((tmp_path / name / "recipe.json").read_text()) == record
    assert len(record["training"]["denoiser"]["rounds"]) == len(build.ROUNDS[name])


def test_the_scorer_learns_from_renders_how_much_of_a_caption_is_right(tmp_path):
    assert build.main(["--family", "clip", "--out", str(tmp_path), "--effort", "0.008", "--threads", "1"]) == 0
    record = json.loads((tmp_path / "clip" / "recipe.json").read_text())
    assert record["training"]["on_renders"]["steps"] == 11
    reward = rewards.load("pickscore", pretrained=str(tmp_path / "clip"))
    pictures, captions = random_pictures(2, torch.Generator().manual_seed(0)), prompts("final")[:2]
    assert reward.score(pictures, captions).isfinite().all()


def test_the_command_line_knows_its_families(capsys):
    with pytest.raises(SystemExit):
        build.main(["--family", "flux"])
    assert "sdxl_epsilon" in capsys.readouterr().err


def test_the_tokenizer_has_whole_words_and_is_the_same_every_time():
    first, second = text.tokenizer(), text.tokenizer()
    assert first.get_vocab() == second.get_vocab()
    assert all(len(ids) == 13 for ids in first(prompts("final")).input_ids)
    assert len(first("A photo of three dogs, please", padding="max_length", truncation=True).input_ids) == 16


def test_an_autoencoder_from_nowhere_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no recipe\.json"):
        build.prepare(seed=0, effort=0.001, vae_from=tmp_path)


def test_latents_are_standardized_without_changing_the_pictures():
    torch.manual_seed(0)
    model = vae.build()
    pictures = torch.rand(64, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        before = model.decode(model.encode(pictures).latent_dist.mode()).sample
        vae.standardize(model, pictures)
        latents = model.encode(pictures).latent_dist.mode()
        after = model.decode(latents).sample
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(8), atol=1e-4, rtol=0)
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(8), atol=1e-4, rtol=0)
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-3)


def test_one_counted_token_of_zeros_stands_for_many():
    torch.manual_seed(0)
    model = sd3.build(layers=2, heads=2, head_width=8)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    noisy, embeds, pooled, timesteps = torch.randn(2, 8, 16, 16), torch.randn(2, 16, 128), torch.randn(2, 128), torch.tensor([900.0, 30.0])
    with torch.no_grad():
        many = model(noisy, torch.nn.functional.pad(embeds, (0, 0, 0, 77)), pooled, timesteps).sample
        counted = sd3.CountedZeros()
        counted.repeats = 77
        model.set_attn_processor(counted)
        one = model(noisy, torch.nn.functional.pad(embeds, (0, 0, 0, 1)), pooled, timesteps).sample
    torch.testing.assert_close(one, many, atol=1e-4, rtol=1e-4)


def test_the_silent_third_encoder_gives_what_the_pipeline_gives_without_one():
    words, encoder = sd3.silent_encoder(text.tokenizer())
    ids = words(["a red circle"], padding="max_length", max_length=12, return_tensors="pt").input_ids
    assert len(set(ids[0, :3].tolist())) == 3
    assert torch.equal(encoder(ids)[0], torch.zeros(1, 12, 128))


def test_a_transformer_starts_as_zero():
    out = sd3.build(layers=1)(torch.randn(1, 8, 16, 16), torch.randn(1, 17, 128), torch.randn(1, 128), torch.tensor([500.0])).sample
    assert torch.equal(out, torch.zeros_like(out))


def test_an_encoder_without_its_projection_gives_the_same_states():
    words = text.tokenizer()
    encoder = text.train(words, steps=2).model
    ids = text.tokenize(words, ["a small red circle at the top on a pink background"])
    with torch.no_grad():
        assert torch.equal(text.without_projection(encoder)(ids).last_hidden_state, encoder(ids).last_hidden_state)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_target_and_the_noisy_latents_give_the_clean_ones_back(prediction):
    alphas = torch.linspace(0.99, 0.01, 10)
    clean, noise = torch.randn(2, 4, 8, 8, 8).unbind(0)
    noisy, timesteps, target, weight = diffusion_noising(alphas, prediction)(clean, noise, torch.tensor([0.0, 0.3, 0.6, 0.95]))
    assert timesteps.tolist() == [0, 3, 6, 9]
    signal, sigma = alphas[timesteps].sqrt()[:, None, None, None], (1 - alphas[timesteps]).sqrt()[:, None, None, None]
    found = (noisy - sigma * target) / signal if prediction == "epsilon" else signal * noisy - sigma * target
    torch.testing.assert_close(found, clean, atol=1e-4, rtol=1e-4)
    # v = (noise - sigma noisy) / signal, so that an error of the noise is one of v times the signal
    expected = 1 / alphas[timesteps] if prediction == "epsilon" else torch.ones(4)
    torch.testing.assert_close(weight, expected)


def test_the_flow_leads_from_the_noisy_latents_to_the_clean_ones():
    clean, noise = torch.randn(2, 2, 8, 8, 8).unbind(0)
    noisy, timesteps, flow, _ = flow_noising(3.0)(clean, noise, torch.tensor([0.25, 1.0]))
    torch.testing.assert_close(timesteps, torch.tensor([500.0, 1000.0]))
    torch.testing.assert_close(noisy - timesteps[:, None, None, None] / 1000 * flow, clean, atol=1e-5, rtol=1e-5)
