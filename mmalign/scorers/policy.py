"""A CLIP-type scorer as a policy: the logits of a choice among the candidates of a prompt."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmalign.policy import Labels
from mmalign.scorers.clip import ClipModel


@dataclass(frozen=True)
class ScorerBatch:
    """Prepared preferences.

    Attributes:
        pixels: (B, K, 3, S, S), the candidates as the model takes them, best first.
        tokens: (B, L), token ids of the prompts.
        preferences: (B,), the probability that the order is right; 0.5 is a tie.
        ranks: (B, K), places of the candidates, 0 the best; equal places are ties.
        weights: (B,), the rows' weights in the loss.
        origins: B places the rows came from, for messages.
        positions: the rows' places in the endless stream of training rows.
    """

    pixels: Tensor
    tokens: Tensor
    preferences: Tensor
    ranks: Tensor
    weights: Tensor
    origins: tuple[str, ...]
    positions: tuple[int, ...] = ()

    def to(self, device: torch.device) -> "ScorerBatch":
        """The same batch on a device; copies from pinned memory do not wait."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "ScorerBatch":
        """The same batch in pinned memory; torch's loader calls this."""
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor]) -> "ScorerBatch":
        return replace(self, **{name: change(value) for name, value in vars(self).items() if isinstance(value, Tensor)})


class ChoiceLogits(nn.Module):
    """A CLIP-type model whose one forward pass gives logits, so that what wraps modules (several processes, mixed precision) finds it."""

    def __init__(self, clip: ClipModel):
        super().__init__()
        self.clip = clip

    def forward(self, pixels: Tensor, tokens: Tensor) -> Tensor:
        """exp(scale) times the cosines (B, K), float32, of images (B, K, 3, S, S) with prompts (B, L)."""
        images = F.normalize(self.clip.embed_image(pixels.flatten(0, 1)).float(), dim=-1)
        texts = F.normalize(self.clip.embed_text(tokens).float(), dim=-1)
        return self.clip.logit_scale * (images.unflatten(0, pixels.shape[:2]) * texts[:, None]).sum(-1)


class ScorerPolicy:
    """A CLIP-type model as a ``ScoringPolicy``; nothing in it is random.

    Args:
        module: a ``ChoiceLogits``, perhaps wrapped for several processes.
    """

    def __init__(self, module: nn.Module):
        self.module = module

    def prepare(self, batch: ScorerBatch, generators: Sequence[torch.Generator]) -> ScorerBatch:
        return batch

    def logps(self, inputs: ScorerBatch) -> Tensor:
        """Logits (B, K), float32."""
        return self.module(inputs.pixels, inputs.tokens)

    def labels(self, inputs: ScorerBatch) -> Labels:
        return Labels(inputs.preferences, inputs.ranks)
