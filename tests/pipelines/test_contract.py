"""One contract, over every family: encoding as the pipeline does, errors by an independent restatement, an exact reference."""

import math

import pytest
import torch
from peft import LoraConfig, PeftModel

from mmalign import objectives, pipelines
from mmalign.config import LoraAdapterConfig
from mmalign.config.sections import FullConfig
from mmalign.diffusion.adapters import add_adapter
from mmalign.diffusion.family import DiffusionFamily
from mmalign.diffusion.policy import DiffusionBatch, DiffusionPolicy
from mmalign.errors import UserError
from mmalign.geometry import Geometry
from mmalign.policy import DenoisingPolicy, Policy
from mmalign.training.order import generator
from mmalign.training.trainable import trainable
from tests import tiny, tiny_families
from tests.pipelines.restated import frames, restated_call, restated_noise, shape_of_pixels, side

PROMPTS = ["a red circle", "a photo of a cat"]
GEOMETRY = Geometry((20, 18), (2, 1), (16, 16))


@pytest.fixture(params=sorted(tiny_families.EVERY))
def family(request):
    return pipelines.load(tiny_families.EVERY[request.param]())


def drawn(family, prompts, seeds, **call):
    pixels = side(family)
    return family.sample(prompts, seeds, num_inference_steps=2, height=pixels, width=pixels, **frames(family), **call)


def pixels_of(family, count):
    return torch.rand(count, *shape_of_pixels(family), generator=torch.Generator().manual_seed(1)) * 2 - 1


def batch_of(family, candidates=2):
    pixels = pixels_of(family, 2 * candidates)
    mean, std = family.encode_images(pixels)
    one = family.image_conditioning(GEOMETRY)
    return DiffusionBatch(
        latent_mean=mean.unflatten(0, (2, candidates)),
        latent_std=std.unflatten(0, (2, candidates)),
        prompt_conditioning=family.encode_prompts(PROMPTS),
        image_conditioning={name: value.expand(2, candidates, *value.shape) for name, value in one.items()},
        origins=("row 0", "row 1"),
        weights=torch.ones(2),
        positions=(0, 1),
    )


def generators():
    return [generator(0, "draw", position) for position in (0, 1)]


def policy_of(family, config=None):
    trained = trainable(family, config or LoraAdapterConfig(rank=4), seed=0)
    return DiffusionPolicy(family, trained.module, trained.reference), trained


def perturb(module):
    with torch.no_grad():
        for index, parameter in enumerate(p for p in module.parameters() if p.requires_grad):
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index)))


def test_every_family_in_the_folder_is_tested():
    tested = {type(pipelines.load(make())) for make in tiny_families.EVERY.values()}
    assert set(pipelines.families(DiffusionFamily).values()) == tested


def test_it_is_a_denoising_policy(family):
    policy, _ = policy_of(family)
    assert isinstance(policy, Policy)
    assert isinstance(policy, DenoisingPolicy)


def test_errors_by_an_independent_restatement(family):
    """The scheduler of diffusers adds the noise, the denoiser is called by hand, the mean is numpy's."""
    policy, _ = policy_of(family)
    batch = batch_of(family)
    inputs = policy.prepare(batch, generators())
    errors = policy.errors(inputs)
    assert errors.shape == (2, 2)
    assert errors.dtype == torch.float32

    row, draws = 1, generator(0, "draw", 1)
    uniform = torch.rand((), generator=draws)
    noise = torch.randn(batch.latent_mean.shape[2:], generator=draws)
    posterior = torch.randn(batch.latent_mean.shape[1:], generator=draws)
    latents = batch.latent_mean[row] + batch.latent_std[row] * posterior
    noisy, target, timestep = restated_noise(family, latents, noise.expand_as(latents), uniform)
    arguments = {name: value[row : row + 1].expand(2, *value.shape[1:]) for name, value in batch.prompt_conditioning.items()}
    with torch.no_grad():
        prediction = restated_call(family, noisy, timestep.expand(2), arguments)
    expected = ((prediction - target).double() ** 2).numpy().reshape(2, -1).mean(axis=1)
    torch.testing.assert_close(errors[row].detach().double(), torch.from_numpy(expected), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("adapter", [FullConfig(), LoraAdapterConfig(rank=2), LoraAdapterConfig(rank=2, targets=["to_add_out"])])
@pytest.mark.parametrize("name", sorted({**tiny_families.EVERY, **tiny_families.VARIANTS}))
def test_what_is_trained_has_a_gradient_and_what_nothing_reads_has_none(name, adapter):
    """Several processes would wait for one that never comes."""
    family = pipelines.load({**tiny_families.EVERY, **tiny_families.VARIANTS}[name]())
    if adapter.name == "lora" and adapter.targets and not any("to_add_out" in name for name, _ in family.denoiser.named_modules()):
        pytest.skip("no such layers")
    policy, trained = policy_of(family, adapter)
    named = dict(trained.module.named_parameters())
    reached = {name for name, parameter in named.items() if parameter.requires_grad}
    unread = {name for name in named if any(name.startswith(f"{part}.") for part in family.unread)}
    assert not reached & unread
    trained.module.requires_grad_(True)
    objectives.load("diffusion_dpo", beta=10.0)(policy, policy.prepare(batch_of(family), generators())).loss.mean().backward()
    assert all(named[name].grad is not None for name in reached)
    assert all(named[name].grad is None for name in unread)


def test_loss_and_gradient_equal_the_published_form(family):
    """The released code's form, on errors formed by hand with the scheduler of diffusers, through the same weights."""
    beta = 10.0  # float32 rounds the error by about 1e-7: beta times that is the tolerance
    policy, trained = policy_of(family)
    perturb(trained.module)
    batch = batch_of(family)
    weights = [p for p in trained.module.parameters() if p.requires_grad]
    loss = objectives.load("diffusion_dpo", beta=beta)(policy, policy.prepare(batch, generators())).loss
    gradient = torch.autograd.grad(loss.mean(), weights)

    published = []
    for row in range(2):
        draws = generator(0, "draw", row)
        uniform, noise = torch.rand((), generator=draws), torch.randn(batch.latent_mean.shape[2:], generator=draws)
        latents = batch.latent_mean[row] + batch.latent_std[row] * torch.randn(batch.latent_mean.shape[1:], generator=draws)
        noisy, target, timestep = restated_noise(family, latents, noise.expand_as(latents), uniform)
        arguments = {name: value[row : row + 1].expand(2, *value.shape[1:]) for name, value in batch.prompt_conditioning.items()}

        def difference(noisy=noisy, target=target, timestep=timestep, arguments=arguments):
            each = (restated_call(family, noisy, timestep.expand(2), arguments) - target).pow(2).flatten(1).mean(dim=1)
            return each[0] - each[1]

        with torch.no_grad(), policy.reference():
            ref_diff = difference()
        published.append(-torch.nn.functional.logsigmoid(-0.5 * beta * (difference() - ref_diff)))
    expected = torch.stack(published)
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=1e-6)
    for ours, theirs in zip(gradient, torch.autograd.grad(expected.mean(), weights), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)


def test_latents_have_the_denoisers_scale(family):
    """Decoding as the pipeline does gives what decoding the posterior's mean gives."""
    pixels = pixels_of(family, 2)
    mean, std = family.encode_images(pixels)
    expected_mean, expected_std = posterior_of(family, pixels)
    torch.testing.assert_close(mean, expected_mean)
    torch.testing.assert_close(std, expected_std)
    assert mean.shape[1:] == family.latent_shape(side(family), side(family), *frames(family).values())


def test_sides_of_the_multiple_pass(family):
    """A picture of any sides that are multiples of what the family says goes through autoencoder and denoiser."""
    height, width = 2 * family.side_multiple, 3 * family.side_multiple
    mean, _ = family.encode_images(torch.zeros(2, *shape_of_pixels(family)[:-2], height, width))
    assert mean.shape[1:] == family.latent_shape(height, width, *frames(family).values())
    conditioning = family.encode_prompts(PROMPTS) | {
        name: value.expand(2, *value.shape) for name, value in family.image_conditioning(GEOMETRY).items()
    }
    timesteps = family.noise_process().timesteps(torch.tensor([0.2, 0.8]), mean.shape[1:])
    with torch.no_grad():
        assert family.predict(family.denoiser, mean, timesteps, conditioning).shape == mean.shape
    assert family.default_resolution % family.side_multiple == 0
    assert family.longest_side is None or family.longest_side % family.side_multiple == 0


def posterior_of(family, pixels):
    vae, config = family.pipe.vae, family.pipe.vae.config
    with torch.no_grad():
        encoded = vae.encode(pixels.unsqueeze(2) if family.name == "qwen_image" else pixels)
    if family.name == "sana":
        return encoded.latent * config.scaling_factor, torch.zeros_like(encoded.latent)
    posterior = encoded.latent_dist
    if "latents_mean" in config and config.latents_mean is not None:
        shift, scale = (torch.tensor(value).view(1, -1, 1, 1, 1) for value in (config.latents_mean, config.latents_std))
        mean, std = (posterior.mean - shift) / scale, posterior.std / scale
        return (mean[:, :, 0], std[:, :, 0]) if family.name == "qwen_image" else (mean, std)
    return (posterior.mean - (config.shift_factor or 0.0)) * config.scaling_factor, posterior.std * config.scaling_factor


@pytest.mark.parametrize(
    "config", [LoraAdapterConfig(rank=4), LoraAdapterConfig(rank=4, dora=True), LoraAdapterConfig(rank=4, rslora=True), FullConfig()]
)
def test_the_loss_is_log_two_at_the_start_and_the_reference_never_moves(family, config):
    policy, trained = policy_of(family, config)
    inputs = policy.prepare(batch_of(family), generators())
    with torch.no_grad(), policy.reference():
        before = policy.logps(inputs)
    output = objectives.load("diffusion_dpo", beta=5000)(policy, inputs)
    if not getattr(config, "dora", False):  # DoRA divides by a norm: equal up to rounding only
        assert torch.equal(output.loss, torch.full((2,), math.log(2)))
    torch.testing.assert_close(output.loss, torch.full((2,), math.log(2)), atol=5e-3, rtol=0)

    perturb(trained.module)
    with torch.no_grad(), policy.reference():
        after = policy.logps(inputs)
    assert torch.equal(after, before)
    assert not torch.equal(policy.logps(inputs), before)


@pytest.mark.parametrize("config", [LoraAdapterConfig(rank=4), FullConfig()])
def test_gradients_reach_the_policy_and_not_the_reference(family, config):
    policy, trained = policy_of(family, config)
    perturb(trained.module)
    output = objectives.load("diffusion_dpo", beta=500)(policy, policy.prepare(batch_of(family), generators()))
    output.loss.sum().backward()
    with_gradient = {name for name, p in trained.module.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    trained_names = {name for name, p in trained.module.named_parameters() if p.requires_grad}
    assert with_gradient
    assert with_gradient <= trained_names
    if isinstance(config, FullConfig):
        assert all(p.grad is None for p in trained.reference.module.parameters())
    else:
        assert all(".mmalign" in name for name in trained_names)


def test_every_weight_of_the_lora_takes_part(family):
    """One that did not would stop a run of several processes, which wait for its gradient."""
    policy, trained = policy_of(family)
    policy.logps(policy.prepare(batch_of(family), generators())).sum().backward()
    assert [name for name, p in trained.module.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize("config", [LoraAdapterConfig(rank=4), FullConfig()])
def test_a_few_steps_on_one_batch_prefer_the_chosen(family, config):
    policy, trained = policy_of(family, config)
    inputs, objective = policy.prepare(batch_of(family), generators()), objectives.load("diffusion_dpo", beta=500)
    optimizer = torch.optim.AdamW([p for p in trained.module.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(15):
        output = objective(policy, inputs)
        optimizer.zero_grad()
        output.loss.mean().backward()
        optimizer.step()
    assert output.loss.mean() < 0.5 * math.log(2)
    assert (output.implicit_rewards[:, 0] > output.implicit_rewards[:, 1]).all()


def test_the_swapped_pair_has_the_mirrored_margin(family):
    policy, trained = policy_of(family)
    perturb(trained.module)
    inputs = policy.prepare(batch_of(family), generators())
    first = objectives.load("diffusion_dpo", beta=500)(policy, inputs).implicit_rewards
    swapped = type(inputs)(
        inputs.noisy.flip(1),
        inputs.target.flip(1),
        inputs.timesteps,
        {k: v.unflatten(0, (2, 2)).flip(1).flatten(0, 1) for k, v in inputs.conditioning.items()},
    )
    second = objectives.load("diffusion_dpo", beta=500)(policy, swapped).implicit_rewards
    torch.testing.assert_close(second, first.flip(1), atol=1e-4, rtol=1e-4)


def test_candidates_share_noise_and_rows_do_not_depend_on_their_batch(family):
    policy, _ = policy_of(family)
    batch = batch_of(family)
    inputs = policy.prepare(batch, generators())
    alone = policy.prepare(take(batch, 1), generators()[1:])
    assert torch.equal(alone.noisy[0], inputs.noisy[1])
    same = DiffusionBatch(
        **{
            **batch.__dict__,
            "latent_mean": batch.latent_mean[:, :1].expand_as(batch.latent_mean),
            "latent_std": torch.zeros_like(batch.latent_std),
        }
    )
    shared = policy.prepare(same, generators())
    assert torch.equal(shared.noisy[:, 0], shared.noisy[:, 1])
    assert not torch.equal(shared.noisy[0], shared.noisy[1])


def take(batch, row):
    part = slice(row, row + 1)
    return DiffusionBatch(
        batch.latent_mean[part],
        batch.latent_std[part],
        {k: v[part] for k, v in batch.prompt_conditioning.items()},
        {k: v[part] for k, v in batch.image_conditioning.items()},
        batch.origins[part],
        batch.weights[part],
        batch.positions[part],
    )


def test_the_saved_adapter_is_read_by_the_stock_pipeline(family, tmp_path):
    family.pipe.save_pretrained(tmp_path / "base")
    _, trained = policy_of(family)
    perturb(trained.module)
    expected = drawn(family, PROMPTS, [3, 4])
    trained.save(tmp_path / "lora")

    stock = pipelines.open_pipeline(tmp_path / "base")
    assert type(stock) is type(family.pipe)
    plain = drawn(pipelines.load(stock), PROMPTS, [3, 4])
    read_by_the_stock_library(stock, tmp_path / "lora")
    assert not torch.allclose(plain, expected, atol=1e-3)
    torch.testing.assert_close(drawn(pipelines.load(stock), PROMPTS, [3, 4]), expected, atol=1e-5, rtol=1e-4)


def read_by_the_stock_library(pipe, folder):
    if hasattr(pipe, "load_lora_weights"):
        pipe.load_lora_weights(folder)
    else:
        pipe.transformer = PeftModel.from_pretrained(pipe.transformer, folder)


def test_the_saved_model_is_read_by_diffusers(family, tmp_path):
    _, trained = policy_of(family, FullConfig())
    perturb(trained.module)
    trained.save(tmp_path)
    again = type(family.denoiser).from_pretrained(tmp_path, subfolder=family.denoiser_name)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), family.denoiser.parameters(), strict=True))


@pytest.mark.parametrize("config", [LoraAdapterConfig(rank=4), FullConfig()])
def test_the_pipeline_is_given_back_as_it_was(family, config):
    before = drawn(family, PROMPTS, [0, 1])
    _, trained = policy_of(family, config)
    perturb(trained.module)
    trained.remove()
    assert torch.equal(drawn(family, PROMPTS, [0, 1]), before)


def test_an_adapter_that_was_there_stays_part_of_the_base(family):
    """With a first adapter in the pipeline, the reference is the model with that one on and ours off."""
    add_adapter(family.denoiser, LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False), "first")
    batch = batch_of(family)
    policy, trained = policy_of(family)
    inputs = policy.prepare(batch, generators())
    output = objectives.load("diffusion_dpo", beta=5000)(policy, inputs)
    assert torch.equal(output.loss, torch.full((2,), math.log(2)))
    assert {name for name, p in trained.module.named_parameters() if p.requires_grad and ".first" in name} == set()


def test_targets_that_fit_nothing_are_named(family):
    with pytest.raises(UserError, match="no_such_layer"):
        trainable(family, LoraAdapterConfig(targets=["no_such_layer"]), seed=0)


def test_pictures_depend_on_their_own_seed_only(family):
    together = drawn(family, PROMPTS, [7, 8], guidance_scale=3.0)
    alone = drawn(family, PROMPTS[1:], [8], guidance_scale=3.0)
    torch.testing.assert_close(together[1:], alone, atol=1e-5, rtol=1e-4)


def test_loading_by_name_and_what_is_refused(tmp_path):
    tiny.sdxl().save_pretrained(tmp_path)
    assert type(pipelines.load("sdxl", tmp_path)).__name__ == "SDXL"
    assert type(pipelines.load(tmp_path)).__name__ == "SDXL"
    with pytest.raises(UserError, match="StableDiffusionXLPipeline"):
        pipelines.load("sd", tmp_path)
    with pytest.raises(UserError, match="sdxl"):
        pipelines.load("sdx", tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        pipelines.load("sdxl", tmp_path / "nowhere")
    tiny.sd().save_pretrained(tmp_path / "half", variant="fp16")
    with pytest.raises(UserError, match="set variant fp16"):
        pipelines.load(tmp_path / "half")
    assert pipelines.load(tmp_path / "half", variant="fp16")
    with pytest.raises(UserError, match="model_index"):
        pipelines.load("sdxl", tmp_path / "unet")
