"""A denoiser as a policy over images."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mmalign.diffusion.family import DiffusionFamily
from mmalign.policy import Labels, in_order


@dataclass(frozen=True)
class DiffusionBatch:
    """Encoded preferences: what a step reads from the cache.

    Attributes:
        latent_mean, latent_std: (B, K, C, H, W), the VAE's posterior of each candidate in the denoiser's scale.
        prompt_conditioning: the denoiser's arguments that follow from the prompt, each (B, ...).
        image_conditioning: those that differ between candidates (SDXL's time ids), each (B, K, ...).
        origins: B places the rows came from, for messages.
        weights: (B,), the rows' weights in the loss.
        positions: the rows' places in the endless stream of training rows, which seed their draws.
        labels: what was said of the candidates; None = that they stand in order, for sure.
    """

    latent_mean: Tensor
    latent_std: Tensor
    prompt_conditioning: dict[str, Tensor]
    image_conditioning: dict[str, Tensor]
    origins: tuple[str, ...]
    weights: Tensor
    positions: tuple[int, ...] = ()
    labels: Labels | None = None

    def to(self, device: torch.device) -> "DiffusionBatch":
        """The same batch on a device; copies from pinned memory do not wait."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "DiffusionBatch":
        """The same batch in pinned memory; torch's loader calls this."""
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor]) -> "DiffusionBatch":
        return replace(
            self,
            latent_mean=change(self.latent_mean),
            latent_std=change(self.latent_std),
            prompt_conditioning={name: change(value) for name, value in self.prompt_conditioning.items()},
            image_conditioning={name: change(value) for name, value in self.image_conditioning.items()},
            weights=change(self.weights),
            labels=None if self.labels is None else self.labels.map(change),
        )


@dataclass(frozen=True)
class DenoisingInputs:
    """Everything a forward needs, all draws made, and the labels.

    Attributes:
        noisy, target: (B, K, C, H, W), noisy latents and what should be predicted.
        timesteps: (B,), in the unit that the denoiser takes.
        conditioning: the denoiser's other arguments, each (B * K, ...).
        labels: what was said of the candidates; None = that they stand in order, for sure.
    """

    noisy: Tensor
    target: Tensor
    timesteps: Tensor
    conditioning: dict[str, Tensor]
    labels: Labels | None = None


Reference = Callable[["DiffusionPolicy"], AbstractContextManager[None]]


class DiffusionPolicy:
    """A family's denoiser as a ``DenoisingPolicy``: log-likelihood is minus half the mean squared prediction error.

    Args:
        family: the model family, bound to a pipeline.
        module: the denoiser to train, perhaps wrapped for several processes.
        reference: the strategy that turns the policy into its reference for a while.
        autocast: makes the context of the forward; policy and reference share it, so that equal weights give equal numbers.
    """

    def __init__(
        self, family: DiffusionFamily, module: nn.Module, reference: Reference, autocast: Callable[[], AbstractContextManager] = nullcontext
    ):
        self.family = family
        self.module = module
        self.noise_process = family.noise_process()
        self._reference = reference
        self._autocast = autocast
        self._other: nn.Module | None = None

    @torch.no_grad()
    def prepare(self, batch: DiffusionBatch, generators: Sequence[torch.Generator]) -> DenoisingInputs:
        """Draws timestep, noise and VAE sample of every row; the candidates of a row share the first two.

        Args:
            generators: one per row, on the CPU; a row's draws depend on its own generator only, so neither the batch size nor the
                number of processes changes them.
        """
        size, latent_shape = batch.latent_mean.shape[:2], batch.latent_mean.shape[2:]
        device = batch.latent_mean.device
        uniform = torch.stack([torch.rand((), generator=g) for g in generators])
        noise = torch.stack([torch.randn(latent_shape, generator=g) for g in generators]).to(device, non_blocking=True)
        posterior = torch.stack([torch.randn(batch.latent_mean.shape[1:], generator=g) for g in generators]).to(device, non_blocking=True)
        latents = (batch.latent_mean.float() + batch.latent_std.float() * posterior).flatten(0, 1)
        noise = noise[:, None].expand(*size, *latent_shape).flatten(0, 1)
        timesteps = self.noise_process.timesteps(uniform).to(device, non_blocking=True)
        each = timesteps.repeat_interleave(size[1])
        dtype = self.family.denoiser.dtype
        prompt = {name: value.to(dtype).repeat_interleave(size[1], dim=0) for name, value in batch.prompt_conditioning.items()}
        image = {name: value.flatten(0, 1) for name, value in batch.image_conditioning.items()}
        return DenoisingInputs(
            noisy=self.noise_process.add_noise(latents, noise, each).unflatten(0, size),
            target=self.noise_process.target(latents, noise, each).unflatten(0, size),
            timesteps=timesteps,
            conditioning=prompt | image,
            labels=batch.labels,
        )

    def errors(self, inputs: DenoisingInputs) -> Tensor:
        """Mean squared prediction errors (B, K), float32."""
        size = inputs.noisy.shape[:2]
        timesteps = inputs.timesteps.repeat_interleave(size[1])
        with self._autocast():
            noisy = inputs.noisy.flatten(0, 1).to(self.family.denoiser.dtype)
            prediction = self.family.predict(self._other or self.module, noisy, timesteps, inputs.conditioning)
        # half precision rounds an error of 0.1 by more than most margins: the difference is formed in float32
        error = (prediction.float() - inputs.target.flatten(0, 1).float()).square()
        return error.flatten(1).mean(1).unflatten(0, size)

    def logps(self, inputs: DenoisingInputs) -> Tensor:
        """Log-likelihoods (B, K) up to a constant: minus half the errors."""
        return -0.5 * self.errors(inputs)

    def labels(self, inputs: DenoisingInputs) -> Labels:
        """The labels of the prepared batch."""
        return inputs.labels or in_order(*inputs.noisy.shape[:2]).map(lambda tensor: tensor.to(inputs.noisy.device))

    def noise_weights(self, inputs: DenoisingInputs) -> Tensor:
        """What turns a row's errors into errors of the predicted noise, (B,)."""
        return self.noise_process.noise_weights(inputs.timesteps)

    def reference(self) -> AbstractContextManager[None]:
        return self._reference(self)

    @contextmanager
    def using(self, module: nn.Module) -> Iterator[None]:
        """Inside it, another denoiser of the same shape answers."""
        before, self._other = self._other, module
        try:
            yield
        finally:
            self._other = before
