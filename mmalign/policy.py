"""What an objective may ask of a model.

Candidates lie along one axis K: a pair is K = 2 with the preferred one first, a ranked list is K >= 3 sorted best first, a winner alone
is K = 1. A policy has three verbs, and all the randomness is in the first, so that policy and reference see the same draws.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn


@runtime_checkable
class Policy(Protocol):
    """A model that gives one log-likelihood per candidate, up to a constant that policy and reference share."""

    module: nn.Module

    def prepare(self, batch: Any, generators: Sequence[torch.Generator]) -> Any:
        """Draws everything random (timesteps, noise), one generator per row of the batch; no gradient."""
        ...

    def logps(self, inputs: Any) -> Tensor:
        """Log-likelihoods (B, K), float32, deterministic and differentiable."""
        ...

    def reference(self) -> AbstractContextManager[None]:
        """Inside it, the policy's numbers are the reference's. Enter it under ``torch.no_grad`` and before the policy's own forward."""
        ...


@runtime_checkable
class DenoisingPolicy(Policy, Protocol):
    """A policy over images whose log-likelihood is minus half its denoising error."""

    def errors(self, inputs: Any) -> Tensor:
        """Squared prediction errors (B, K): means over channels, height and width, float32."""
        ...


@runtime_checkable
class TokenPolicy(Policy, Protocol):
    """A policy over responses made of tokens."""

    def token_logps(self, inputs: Any) -> tuple[Tensor, Tensor]:
        """Log-probabilities (B, K, T), float32, and the mask (B, K, T) of the response's tokens."""
        ...


@dataclass(frozen=True)
class Labels:
    """What was said of the candidates of a batch.

    Attributes:
        preferences: (B,), the probability in [0.5, 1] that the candidates stand in the right order; 0.5 is a tie.
        ranks: (B, K), the place of each candidate, 0 the best; equal places are ties.
    """

    preferences: Tensor
    ranks: Tensor


@runtime_checkable
class ScoringPolicy(Protocol):
    """A scorer whose numbers are the logits of a choice among the candidates, and mean something without a reference."""

    module: nn.Module

    def prepare(self, batch: Any, generators: Sequence[torch.Generator]) -> Any:
        """As a ``Policy`` does."""
        ...

    def logps(self, inputs: Any) -> Tensor:
        """Logits (B, K), float32, deterministic and differentiable; their log-softmax over K is the log-probability of being chosen."""
        ...

    def labels(self, inputs: Any) -> Labels:
        """The labels of the prepared batch."""
        ...
