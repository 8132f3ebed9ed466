"""Drawing images from a sampler in batches, each from a seed of its own."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmalign.errors import UserError

Sampler = Callable[[Sequence[str], Sequence[int]], Tensor]
"""Prompts and one seed per prompt -> images (N, 3, H, W), or clips (N, F, 3, H, W), float32 in [0, 1] on the CPU, independent of
batch-mates."""


class Request(NamedTuple):
    """The ``draw``-th image of prompt number ``prompt``."""

    prompt: int
    draw: int


@dataclass(frozen=True)
class Source:
    """A named sampler with the prompts, the seed of the evaluation and the batch size it runs at."""

    name: str
    sampler: Sampler
    prompts: Sequence[str]
    seed: int
    batch_size: int

    def batches(self, requests: Sequence[Request]) -> Iterator[tuple[list[Request], Tensor]]:
        """Requests with their images, batch by batch.

        Raises:
            UserError: an image holds a value that is not a number.
            ValueError: the sampler breaks its contract on shape or range.
        """
        for start in range(0, len(requests), self.batch_size):
            batch = list(requests[start : start + self.batch_size])
            images = self.sampler([self.prompts[r.prompt] for r in batch], [seed_of(self.seed, r) for r in batch])
            self._check(batch, images)
            yield batch, images

    def _check(self, batch: list[Request], images: Tensor) -> None:
        if images.ndim not in (4, 5) or (images.shape[0], images.shape[-3]) != (len(batch), 3):
            raise ValueError(f"the {self.name} sampler gave shape {tuple(images.shape)} for {len(batch)} prompts, not (N, 3, H, W)")
        finite = torch.isfinite(images).flatten(1).all(dim=1)
        if not finite.all():
            prompt = self.prompts[batch[int((~finite).nonzero()[0])].prompt]
            raise UserError(
                f"the {self.name} model gave an image that is not a number for the prompt {prompt!r}; "
                "run it in float32, or train with a lower learning rate"
            )
        if images.min() < -1e-4 or images.max() > 1 + 1e-4:
            raise ValueError(f"the {self.name} sampler gave values outside [0, 1]: {images.min():.3g} to {images.max():.3g}")


def seed_of(seed: int, request: Request) -> int:
    """The noise seed of a request, below 2**31: the same for base and aligned, whatever the batch or the other prompts."""
    sequence = np.random.SeedSequence([seed, request.prompt, request.draw])
    return int(sequence.generate_state(1)[0] >> 1)
