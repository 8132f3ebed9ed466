"""Noise processes against the schedulers of diffusers, which add noise and form targets on their own."""

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, FlowMatchEulerDiscreteScheduler

from mmalign.diffusion.noise import DDPM, RectifiedFlow
from mmalign.errors import UserError


@pytest.fixture
def draws():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(5, 4, 3, 3, generator=generator), torch.randn(5, 4, 3, 3, generator=generator), torch.tensor([0, 1, 500, 998, 999])


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear"])
def test_noisy_latents_and_velocity_are_the_schedulers(draws, schedule):
    latents, noise, timesteps = draws
    scheduler = DDPMScheduler(beta_schedule=schedule, prediction_type="v_prediction")
    process = DDPM(scheduler.alphas_cumprod, "v_prediction")
    torch.testing.assert_close(process.add_noise(latents, noise, timesteps), scheduler.add_noise(latents, noise, timesteps))
    torch.testing.assert_close(process.target(latents, noise, timesteps), scheduler.get_velocity(latents, noise, timesteps))


def test_targets_of_epsilon_and_sample(draws):
    latents, noise, timesteps = draws
    alphas = DDIMScheduler().alphas_cumprod
    assert torch.equal(DDPM(alphas, "epsilon").target(latents, noise, timesteps), noise)
    assert torch.equal(DDPM(alphas, "sample").target(latents, noise, timesteps), latents)


def test_an_unknown_prediction_type_is_named():
    with pytest.raises(UserError, match="'x0'"):
        DDPM(DDIMScheduler().alphas_cumprod, "x0")


def test_ddpm_timesteps_cover_all_and_no_more():
    process = DDPM(DDIMScheduler().alphas_cumprod, "epsilon")
    assert process.timesteps(torch.tensor([0.0, 0.5, 1 - 1e-7])).tolist() == [0, 500, 999]


def test_flow_is_a_straight_line_with_the_schedulers_sigmas(draws):
    latents, noise, _ = draws
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    process = RectifiedFlow(scheduler.sigmas)
    timesteps = process.timesteps(torch.tensor([0.0, 0.25, 0.5, 0.75, 0.9999]))
    expected = scheduler.scale_noise(latents, timesteps, noise)
    torch.testing.assert_close(process.add_noise(latents, noise, timesteps), expected)
    torch.testing.assert_close(process.target(latents, noise, timesteps), noise - latents)
    # one Euler step along the target from any sigma ends at the clean latent
    sigma = (timesteps / 1000).view(-1, 1, 1, 1)
    torch.testing.assert_close(expected - sigma * process.target(latents, noise, timesteps), latents, atol=1e-5, rtol=1e-5)


def test_flow_timesteps_are_those_of_the_scheduler():
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    drawn = RectifiedFlow(scheduler.sigmas).timesteps(torch.linspace(0, 1 - 1e-6, 1000))
    assert set(drawn.tolist()) <= set(scheduler.timesteps.tolist())


def test_logit_normal_draws_follow_their_density():
    scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0)
    process = RectifiedFlow(scheduler.sigmas, logit_normal=True)
    sigma = process.timesteps(torch.rand(200_000, generator=torch.Generator().manual_seed(0))) / 1000
    logit = torch.logit(sigma.double().clamp(1e-3, 1 - 1e-3))
    assert abs(logit.mean()) < 0.02
    assert abs(logit.std() - 1) < 0.02


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample", "flow"])
def test_noise_weights_turn_errors_of_a_prediction_into_errors_of_the_noise_that_it_implies(draws, kind):
    latents, noise, timesteps = draws
    wrong = 0.1 * torch.randn(latents.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    if kind == "flow":
        timesteps = torch.tensor([0.0, 100.0, 500.0, 900.0, 1000.0])
        process = RectifiedFlow(torch.linspace(1, 0.001, 1000))
        sigma = (timesteps / 1000).view(-1, 1, 1, 1).double()
        signal = 1 - sigma
    else:
        alphas = DDIMScheduler().alphas_cumprod
        process = DDPM(alphas, kind)
        signal, sigma = (x.view(-1, 1, 1, 1).double() for x in (alphas[timesteps].sqrt(), (1 - alphas[timesteps]).sqrt()))
    noisy = signal * latents.double() + sigma * noise.double()
    prediction = process.target(latents, noise, timesteps).double() + wrong
    implied = {
        "epsilon": lambda p: p,
        "v_prediction": lambda p: signal * p + sigma * noisy,
        "sample": lambda p: (noisy - signal * p) / sigma,
        "flow": lambda p: noisy + (1 - sigma) * p,
    }[kind](prediction)
    ratio = (implied - noise).square().mean(dim=(1, 2, 3)) / wrong.square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(process.noise_weights(timesteps).double(), ratio, rtol=1e-3, atol=1e-6)
