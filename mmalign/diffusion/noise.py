"""Noise processes: how a clean latent becomes a noisy one, what the model predicts, and at which timesteps it is asked.

Timesteps are in the unit that the denoiser takes. The draw is a function of one uniform number per row, so that the randomness
stays with the caller.
"""

from typing import Protocol

import torch
from torch import Tensor

from mmalign.errors import UserError


class NoiseProcess(Protocol):
    def timesteps(self, uniform: Tensor) -> Tensor:
        """Timesteps (B,) of uniform numbers (B,) in [0, 1)."""
        ...

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Noisy latents of shape (N, ...) at timesteps (N,)."""
        ...

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What the denoiser should predict, (N, ...)."""
        ...

    def noise_weights(self, timesteps: Tensor) -> Tensor:
        """Squared error of the noise that a prediction implies, over the prediction's own squared error, at timesteps (N,)."""
        ...


class DDPM:
    """Variance-preserving diffusion over integer timesteps, drawn uniformly, with epsilon or v-prediction.

    Args:
        alphas_cumprod: (T,), the scheduler's cumulative products.
        prediction_type: "epsilon", "v_prediction" or "sample", as in the scheduler's configuration.
    """

    def __init__(self, alphas_cumprod: Tensor, prediction_type: str):
        if prediction_type not in ("epsilon", "v_prediction", "sample"):
            raise UserError(f"the scheduler's prediction_type is {prediction_type!r}; known are epsilon, v_prediction and sample")
        # formed in double precision, where 1 - alpha does not cancel
        self.signal = alphas_cumprod.double().sqrt().float()
        self.sigma = (1 - alphas_cumprod.double()).sqrt().float()
        self.prediction_type = prediction_type

    def timesteps(self, uniform: Tensor) -> Tensor:
        return (uniform * len(self.signal)).long()

    def _scales(self, latents: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and noise scale, shaped to multiply latents."""
        if self.signal.device != latents.device:
            self.signal, self.sigma = self.signal.to(latents.device), self.sigma.to(latents.device)
        shape = (-1, *[1] * (latents.ndim - 1))
        return self.signal[timesteps].view(shape).to(latents.dtype), self.sigma[timesteps].view(shape).to(latents.dtype)

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        signal, sigma = self._scales(latents, timesteps)
        return signal * latents + sigma * noise

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        if self.prediction_type == "epsilon":
            return noise
        if self.prediction_type == "sample":
            return latents
        signal, sigma = self._scales(latents, timesteps)
        return signal * noise - sigma * latents

    def noise_weights(self, timesteps: Tensor) -> Tensor:
        signal, sigma = self._scales(timesteps.new_zeros(len(timesteps), dtype=torch.float32), timesteps)
        if self.prediction_type == "epsilon":
            return torch.ones_like(signal)
        return signal**2 if self.prediction_type == "v_prediction" else (signal / sigma) ** 2


class RectifiedFlow:
    """Flow matching on straight lines, x_t = (1 - sigma) x_0 + sigma noise with velocity noise - x_0 (Esser et al. 2024, arXiv:2403.03206).

    Args:
        sigmas: (T,), the scheduler's training sigmas, shift included, from high to low.
        num_train_timesteps: what sigma 1 is called in the denoiser's timesteps.
        logit_normal: draws sigma's position by a logit-normal density (mean 0, deviation 1) in place of a uniform one.
    """

    def __init__(self, sigmas: Tensor, num_train_timesteps: int = 1000, logit_normal: bool = False):
        self.sigmas = sigmas.float()
        self.num_train_timesteps = num_train_timesteps
        self.logit_normal = logit_normal

    def timesteps(self, uniform: Tensor) -> Tensor:
        if self.logit_normal:
            uniform = torch.sigmoid(torch.special.ndtri(uniform.double().clamp(1e-9, 1 - 1e-9)))
        index = (uniform * len(self.sigmas)).long().clamp(max=len(self.sigmas) - 1)
        return self.sigmas.to(uniform.device)[index] * self.num_train_timesteps

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        sigma = (timesteps / self.num_train_timesteps).to(latents.dtype).view(-1, *[1] * (latents.ndim - 1))
        return (1 - sigma) * latents + sigma * noise

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        return noise - latents

    def noise_weights(self, timesteps: Tensor) -> Tensor:
        return (1 - timesteps.float() / self.num_train_timesteps) ** 2
