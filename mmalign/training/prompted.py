"""A denoiser whose prompts are encoded anew at every step, by text encoders that are trained with it."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from mmalign.config import AdapterConfig
from mmalign.diffusion.clip_family import ClipFamily
from mmalign.diffusion.family import DiffusionFamily
from mmalign.errors import UserError

KERNELS = [SDPBackend.MATH, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION]
"""Of attention: torch chooses among them, whatever the denoiser is computed by."""


class PromptedDenoiser(nn.Module):
    """A denoiser and its CLIP text encoders as one module, so that whatever wraps, averages or clips it reaches all of them.

    Policy and reference encode the same tokens in the same batch, so that equal weights give equal numbers.

    Attributes:
        recompute: whether the text encoders' activations are computed again in the backward pass.
    """

    def __init__(self, family: ClipFamily):
        super().__init__()
        self.family, self.recompute = family, False
        self.denoiser, self.encoders = family.denoiser, nn.ModuleDict(family.encoders)

    def forward(
        self, *args: Any, tokens: Mapping[str, Tensor] | None = None, spread: Callable[[Tensor], Tensor] | None = None, **kwargs: Any
    ) -> Any:
        """The denoiser's answer, with what follows from tokens in place of what it is given.

        Args:
            tokens: of B prompts, see ``ClipFamily.tokenize``; None = it is called as it is.
            spread: gives each of the N samples what is its prompt's, (B, ...) to (N, ...).
        """
        if tokens is None or spread is None:
            return self.denoiser(*args, **kwargs)
        fresh = {name: spread(value).to(self.family.denoiser.dtype) for name, value in self.embedded(tokens).items()}
        return self.denoiser(*args, **told_anew(kwargs, fresh))

    def embedded(self, tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the text encoders make of tokens, with gradients."""
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(self._embedded, tokens, use_reentrant=False, preserve_rng_state=False)
        return self._embedded(tokens)

    def _embedded(self, tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
        # in the number format of their weights, as when they fill the cache and when the pipeline draws; not every kernel takes that
        with torch.autocast(next(iter(tokens.values())).device.type, enabled=False), sdpa_kernel(KERNELS):
            return self.family.embed(self.encoders, tokens)  # type: ignore[arg-type]


def told_anew(told: Mapping[str, Any], fresh: Mapping[str, Tensor]) -> dict[str, Any]:
    """A call's arguments, also those in mappings among them, with some of other values.

    Tokens that a frozen T5 says more than CLIP stay behind CLIP's.

    >>> told_anew({"a": torch.tensor([[1, 2, 3]]), "b": {"c": torch.tensor([4])}}, {"a": torch.tensor([[5]]), "c": torch.tensor([6])})
    {'a': tensor([[5, 2, 3]]), 'b': {'c': tensor([6])}}
    """
    return {name: _instead(value, name, fresh) for name, value in told.items()}


def _instead(value: Any, name: str, fresh: Mapping[str, Tensor]) -> Any:
    if isinstance(value, dict):
        return told_anew(value, fresh)
    if name not in fresh or fresh[name].shape == value.shape:
        return fresh.get(name, value)
    return torch.cat([fresh[name], value[:, fresh[name].shape[1] :]], dim=1)


def encoders_trained(family: DiffusionFamily, adapter: AdapterConfig) -> dict[str, nn.Module]:
    """The text encoders that are trained, by name.

    Raises:
        UserError: some should be, and the family has none that can be.
    """
    if not getattr(adapter, "text_encoders", False):
        return {}
    if not isinstance(family, ClipFamily) or not family.encoders:
        raise UserError(
            f"adapter.text_encoders trains CLIP's, and {family.name} has none: its prompts are read by a language model; leave it out"
        )
    return family.encoders
