"""A vision-language model as a policy over responses."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmalign.policy import Labels
from mmalign.vlm.batch import ResponseBatch, visible
from mmalign.vlm.family import VlmFamily
from mmalign.vlm.token_logps import PackedModel, packed_inputs, token_collisions, token_kls, token_logps


@dataclass(frozen=True)
class ResponseInputs:
    """Everything a forward needs.

    Attributes:
        batch: the packed batch, on the device.
        tokens: arguments of the language model: tokens, what they see, and their positions.
        seen: what the vision tower made of the pictures, where it is not trained: policy and reference share it.
    """

    batch: ResponseBatch
    tokens: dict[str, Tensor]
    seen: dict[str, Any]


@dataclass(frozen=True)
class Distributions:
    """What a model says of all tokens where one is scored: its logits are ``head(states)``.

    Attributes:
        states: (N, D), hidden states.
        head: of the policy or of the reference, whoever was asked.
    """

    states: Tensor
    head: nn.Module


Memory = Callable[[ResponseInputs, Callable[[ResponseInputs], Tensor]], Tensor]


class VlmPolicy:
    """A family's model as a ``DistributionPolicy``: one packed forward per prompt, and logits at scored tokens only.

    Args:
        family: the model family, bound to its model.
        module: a ``PackedModel`` around the family's model, perhaps wrapped for several processes.
        reference: the strategy that turns the policy into its reference for a while.
        autocast: makes the context of the forward.
        frozen_vision: the vision tower and its projector are not trained, so that pictures are looked at once for policy and reference.
    """

    def __init__(
        self,
        family: VlmFamily,
        module: nn.Module,
        reference: Callable[["VlmPolicy"], AbstractContextManager[None]],
        autocast: Callable[[], AbstractContextManager] = nullcontext,
        frozen_vision: bool = True,
    ):
        self.family, self.module, self.frozen_vision = family, module, frozen_vision
        self._reference, self.autocast = reference, autocast
        self._other: PackedModel | None = None
        self._remembered: Memory | None = None

    @torch.no_grad()
    def prepare(self, batch: ResponseBatch, generators: Sequence[torch.Generator] = ()) -> ResponseInputs:
        """Positions, what is seen, and the pictures' features. Nothing is drawn: what is random was drawn when the rows were made."""
        tokens = packed_inputs(self.family.model, batch.ids, visible(batch.segments), self.family.positions(batch))
        if not self.frozen_vision:
            return ResponseInputs(batch, dict(tokens), {})
        with self.autocast():
            return ResponseInputs(batch, dict(tokens), self.family.look(batch.vision))

    def states(self, inputs: ResponseInputs) -> Tensor:
        """Hidden states (N, D) that predict the scored tokens."""
        seen = {"mm_encoder_outputs": dict(inputs.seen)} if self.frozen_vision else dict(inputs.batch.vision)
        with self.autocast():
            return (self._other or self.module)(inputs.batch.sources, **inputs.tokens, **seen)

    @property
    def head(self) -> nn.Module:
        """What makes logits of hidden states, under the policy or, inside ``reference``, under the reference."""
        return self._other.head if self._other is not None else self.family.model.get_output_embeddings()

    def distributions(self, inputs: ResponseInputs) -> Distributions:
        """Hidden states and the head that reads them, of one forward."""
        return Distributions(self.states(inputs), self.head)

    def token_logps(self, inputs: ResponseInputs) -> tuple[Tensor, Tensor]:
        """Log-probabilities (B, K, T) of the responses' tokens, float32, and where there are any."""
        logps = self._computed(inputs) if self._remembered is None else self._remembered(inputs, self._computed)
        return inputs.batch.spread(logps), inputs.batch.mask

    def _computed(self, inputs: ResponseInputs) -> Tensor:
        return self._logps_of(inputs, self.distributions(inputs))

    def _logps_of(self, inputs: ResponseInputs, said: Distributions) -> Tensor:
        with self.autocast():
            return token_logps(said.states, inputs.batch.targets, said.head)

    def logps_of(self, inputs: ResponseInputs, said: Distributions) -> tuple[Tensor, Tensor]:
        """What ``token_logps`` gives, without a forward of its own."""
        return inputs.batch.spread(self._logps_of(inputs, said)), inputs.batch.mask

    def kls(self, inputs: ResponseInputs, reference: Distributions, said: Distributions, candidates: Sequence[int] | None = None) -> Tensor:
        """Divergences (B, K, T) from the reference over the whole vocabulary; 0 for candidates that are not asked for."""
        asked = inputs.batch.tokens_of(candidates)
        with self.autocast():
            kls = token_kls(reference.states[asked], said.states[asked], said.head, reference.head)
        return inputs.batch.spread(kls.new_zeros(len(said.states)).index_copy(0, asked, kls))

    def collisions(self, inputs: ResponseInputs, said: Distributions) -> Tensor:
        """Logarithms (B, K, T) of the chance that two draws agree."""
        with self.autocast():
            return inputs.batch.spread(token_collisions(said.states, said.head))

    def phrases(self, inputs: ResponseInputs) -> Tensor:
        """Numbers (B, K, T) of marked phrases."""
        return inputs.batch.phrases

    def logps(self, inputs: ResponseInputs) -> Tensor:
        """Log-probabilities (B, K) of whole responses: sums over their tokens."""
        return self.token_logps(inputs)[0].sum(-1)

    def labels(self, inputs: ResponseInputs) -> Labels:
        """The labels of the prepared batch."""
        return inputs.batch.labels

    def reference(self) -> AbstractContextManager[None]:
        return self._reference(self)

    @contextmanager
    def remembering(self, memory: Memory) -> Iterator[None]:
        """Inside it, log-probabilities (N,) come from a memory, which is given the way to compute what it lacks."""
        before, self._remembered = self._remembered, memory
        try:
            yield
        finally:
            self._remembered = before

    @contextmanager
    def using(self, module: nn.Module) -> Iterator[None]:
        """Inside it, another model of the same shape answers."""
        before, self._other = self._other, PackedModel(module)
        try:
            yield
        finally:
            self._other = before
