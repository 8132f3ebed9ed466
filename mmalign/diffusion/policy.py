"""A denoiser as a policy over images."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn

from mmalign.diffusion.family import DiffusionFamily
from mmalign.diffusion.users import RowUsers
from mmalign.policy import Labels, in_order


@dataclass(frozen=True)
class DiffusionBatch:
    """Encoded preferences: what a step reads from the cache.

    Attributes:
        latent_mean, latent_std: (B, K, C, H, W), or (B, K, C, F, H, W), the VAE's posterior of each candidate in the denoiser's scale.
        prompt_conditioning: the denoiser's arguments that follow from the prompt, each (B, ...).
        image_conditioning: those that differ between candidates (SDXL's time ids), each (B, K, ...).
        origins: B places the rows came from, for messages.
        weights: (B,), the rows' weights in the loss.
        positions: the rows' places in the endless stream of training rows, which seed their draws unless these are fixed.
        labels: what was said of the candidates; None = that they stand in order, for sure.
        lengths: how many candidates each row has, where they differ: what follows is padding. Empty = K.
        seeds: of the rows' draws, where these are fixed.
        keys: digests of all that the reference's errors on these draws depend on.
        users: who the rows are for; None = the module has no conditioner.
        tokens: of the prompts, each (B, ...), where text encoders are trained, which read them anew.
    """

    latent_mean: Tensor
    latent_std: Tensor
    prompt_conditioning: dict[str, Tensor]
    image_conditioning: dict[str, Tensor]
    origins: tuple[str, ...]
    weights: Tensor
    positions: tuple[int, ...] = ()
    labels: Labels | None = None
    lengths: tuple[int, ...] = ()
    seeds: tuple[int, ...] = ()
    keys: tuple[str, ...] = ()
    users: RowUsers | None = None
    tokens: dict[str, Tensor] = field(default_factory=dict)

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
            users=None if self.users is None else self.users.map(change),
            tokens={name: change(value) for name, value in self.tokens.items()},
        )


@dataclass(frozen=True)
class DenoisingInputs:
    """Everything a forward needs, all draws made, and the labels.

    Attributes:
        noisy, target: (B, K, C, H, W), noisy latents and what should be predicted.
        timesteps: (B,), in the unit that the denoiser takes.
        conditioning: the denoiser's other arguments, each (B * K, ...).
        labels: what was said of the candidates; None = that they stand in order, for sure.
        present: where, among the B * K, the candidates are that the denoiser is asked about; None = all.
        lengths: how many candidates each row has, where they differ.
        keys: of the rows, where their draws are fixed: digests of all that the reference's errors depend on.
        users: who the B * K candidates are for, which the reference is never told; None = the module has no conditioner.
        tokens: of the prompts, each (B, ...): what follows from them is encoded anew, by the text encoders as they are then.
    """

    noisy: Tensor
    target: Tensor
    timesteps: Tensor
    conditioning: dict[str, Tensor]
    labels: Labels | None = None
    present: Tensor | None = None
    lengths: tuple[int, ...] = ()
    keys: tuple[str, ...] = ()
    users: RowUsers | None = None
    tokens: dict[str, Tensor] = field(default_factory=dict)

    def row(self, index: int) -> "DenoisingInputs":
        """One row alone, without padding, labels or tokens: what the denoiser says of it then depends on no other row and on the cache."""
        count = self.noisy.shape[1]
        length = self.lengths[index] if self.lengths else count
        own, each = slice(index, index + 1), slice(index * count, index * count + length)
        return DenoisingInputs(
            noisy=self.noisy[own, :length],
            target=self.target[own, :length],
            timesteps=self.timesteps[own],
            conditioning={name: value[each] for name, value in self.conditioning.items()},
            users=None if self.users is None else self.users.map(lambda tensor: tensor[each]),
        )

    def asked(self, tensor: Tensor) -> Tensor:
        """Of something for all (B * K, ...) what the denoiser is asked about, (N, ...)."""
        return tensor if self.present is None else tensor[self.present]

    def of_rows(self, tensor: Tensor) -> Tensor:
        """Of something for each row (B, ...) what the denoiser is asked about, (N, ...)."""
        return self.asked(tensor.repeat_interleave(self.noisy.shape[1], dim=0))

    def spread(self, tensor: Tensor) -> Tensor:
        """What was answered (N, ...) in its places, (B, K, ...), with zeros where nothing was asked."""
        size = self.noisy.shape[:2]
        if self.present is not None:
            tensor = tensor.new_zeros(size.numel(), *tensor.shape[1:]).index_copy(0, self.present, tensor)
        return tensor.unflatten(0, size)


Reference = Callable[["DiffusionPolicy"], AbstractContextManager[None]]


class DiffusionPolicy:
    """A family's denoiser as a ``DenoisingPolicy``: log-likelihood is minus half the mean squared prediction error.

    Args:
        family: the model family, bound to a pipeline.
        module: the denoiser to train, perhaps wrapped for several processes.
        reference: the strategy that turns the policy into its reference for a while.
        autocast: makes the context of the forward; policy and reference share it, so that equal weights give equal numbers.
        independent_noise: every candidate has noise of its own; else those of a row share it.
    """

    def __init__(
        self,
        family: DiffusionFamily,
        module: nn.Module,
        reference: Reference,
        autocast: Callable[[], AbstractContextManager] = nullcontext,
        independent_noise: bool = False,
    ):
        self.family = family
        self.module = module
        self.noise_process = family.noise_process()
        self._reference = reference
        self._autocast = autocast
        self.independent_noise = independent_noise
        self._other: nn.Module | None = None
        self._told = True
        self._known: Callable[[DenoisingInputs], Tensor] | None = None

    @torch.no_grad()
    def prepare(self, batch: DiffusionBatch, generators: Sequence[torch.Generator]) -> DenoisingInputs:
        """Draws timestep, noise and VAE sample of every row; its candidates share the first, and the second unless told otherwise.

        Args:
            generators: one per row, on the CPU; a row's draws depend on its own generator only, so neither the batch size nor the
                number of processes changes them. Rows whose draws are fixed bring their own.
        """
        generators = [torch.Generator().manual_seed(seed) for seed in batch.seeds] or generators
        size, latent_shape = batch.latent_mean.shape[:2], batch.latent_mean.shape[2:]
        device = batch.latent_mean.device
        uniform = torch.stack([torch.rand((), generator=g) for g in generators])
        lengths = batch.lengths or (size[1],) * size[0]
        noise = _drawn(generators, lengths if self.independent_noise else (1,) * size[0], latent_shape).to(device, non_blocking=True)
        posterior = _drawn(generators, lengths, latent_shape).to(device, non_blocking=True)
        latents = (batch.latent_mean.float() + batch.latent_std.float() * posterior).flatten(0, 1)
        noise = noise.expand(*size, *latent_shape).flatten(0, 1)
        timesteps = self.noise_process.timesteps(uniform, latent_shape).to(device, non_blocking=True)
        each = timesteps.repeat_interleave(size[1])
        dtype = self.family.denoiser.dtype
        prompt = {name: _as(value, dtype).repeat_interleave(size[1], dim=0) for name, value in batch.prompt_conditioning.items()}
        image = {name: value.flatten(0, 1) for name, value in batch.image_conditioning.items()}
        return DenoisingInputs(
            noisy=self.noise_process.add_noise(latents, noise, each).unflatten(0, size),
            target=self.noise_process.target(latents, noise, each).unflatten(0, size),
            timesteps=timesteps,
            conditioning=prompt | image,
            labels=batch.labels,
            present=_places(batch.lengths, size[1], device),
            lengths=batch.lengths,
            keys=batch.keys,
            users=None if batch.users is None else batch.users.map(lambda tensor: tensor.repeat_interleave(size[1], dim=0)),
            tokens=batch.tokens,
        )

    def _residuals(self, inputs: DenoisingInputs) -> Tensor:
        timesteps = inputs.of_rows(inputs.timesteps)
        conditioning = {name: inputs.asked(value) for name, value in inputs.conditioning.items()}
        denoiser = self._other or self.module
        if inputs.users is not None and self._told:
            denoiser = partial(denoiser, **inputs.users.map(inputs.asked).arguments())
        if inputs.tokens:
            denoiser = partial(denoiser, tokens=inputs.tokens, spread=inputs.of_rows)
        with self._autocast():
            noisy = inputs.asked(inputs.noisy.flatten(0, 1)).to(self.family.denoiser.dtype)
            prediction = self.family.predict(denoiser, noisy, timesteps, conditioning)
        # half precision rounds an error of 0.1 by more than most margins: the difference is formed in float32
        return prediction.float() - inputs.asked(inputs.target.flatten(0, 1)).float()

    def residuals(self, inputs: DenoisingInputs) -> Tensor:
        """Prediction minus target (B, K, C, H, W), float32; 0 where a row has no candidate."""
        return inputs.spread(self._residuals(inputs))

    def errors(self, inputs: DenoisingInputs) -> Tensor:
        """Mean squared prediction errors (B, K), float32; 0 where a row has no candidate."""
        if self._known is not None:
            return self._known(inputs)
        return inputs.spread(self._residuals(inputs).square().flatten(1).mean(1))

    def logps(self, inputs: DenoisingInputs) -> Tensor:
        """Log-likelihoods (B, K) up to a constant: minus half the errors."""
        return -0.5 * self.errors(inputs)

    def labels(self, inputs: DenoisingInputs) -> Labels:
        """The labels of the prepared batch."""
        return inputs.labels or in_order(*inputs.noisy.shape[:2]).map(lambda tensor: tensor.to(inputs.noisy.device))

    def noise_weights(self, inputs: DenoisingInputs) -> Tensor:
        """What turns a row's errors into errors of the predicted noise, (B,)."""
        return self.noise_process.noise_weights(inputs.timesteps)

    @contextmanager
    def reference(self) -> Iterator[None]:
        """Inside it, the numbers are the reference's, which is told of no user (PPD, arXiv 2501.06655, section 4)."""
        before, self._told = self._told, False
        try:
            with self._reference(self):
                yield
        finally:
            self._told = before

    @contextmanager
    def using(self, module: nn.Module) -> Iterator[None]:
        """Inside it, another denoiser of the same shape answers."""
        before, self._other = self._other, module
        try:
            yield
        finally:
            self._other = before

    @contextmanager
    def answering(self, errors: Callable[[DenoisingInputs], Tensor] | None) -> Iterator[None]:
        """Inside it, errors are what a function says of the inputs; None = what the denoiser does."""
        before, self._known = self._known, errors
        try:
            yield
        finally:
            self._known = before


def _drawn(generators: Sequence[torch.Generator], lengths: Sequence[int], shape: torch.Size) -> Tensor:
    """Normal numbers (B, K, ...) of which each row draws as many as it has candidates; zeros follow."""
    drawn = [torch.randn(length, *shape, generator=g) for g, length in zip(generators, lengths, strict=True)]
    return torch.nn.utils.rnn.pad_sequence(drawn, batch_first=True)


def _as(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Embeddings in a number format; masks as they are."""
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _places(lengths: Sequence[int], candidates: int, device: torch.device) -> Tensor | None:
    """Where the candidates of rows of these lengths are when the rows are padded and laid end to end; None where all are full."""
    if not lengths:
        return None
    places = [row * candidates + k for row, length in enumerate(lengths) for k in range(length)]
    return torch.tensor(places, device=device)
