"""Several rewards over the same images: every image is opened and decoded once."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from itertools import tee
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor

from mmalign.prefetch import prefetch
from mmalign.reward import Images, Reward, opened, own_mode

Item = TypeVar("Item")


class Stream(Sequence):
    """Images for one reader: iterating, once, gives them opened; indexing gives them as they were named."""

    def __init__(self, images: Sequence[Any], stream: Iterator[Image.Image]) -> None:
        self._images, self._stream = images, stream

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[Image.Image]:
        return self._stream

    def __getitem__(self, place):
        return self._images[place]


def score_together(
    rewards: Sequence[Reward],
    images: Images,
    prompts: list[str] | None,
    *,
    batch_size: int | None = None,
    differentiable: bool = False,
) -> list[Tensor]:
    """What each reward's ``score`` gives of the images, (B,) each.

    Each prepares images in its own way, takes them in batches of its own size, and reads every distinct prompt once. They go through the
    images side by side, so that only the images between the slowest and the fastest of them are held. A reward with a ``score`` of its
    own is left to it, and opens the images itself.

    Args:
        batch_size: images scored at once by each; None = each reward's own.

    Raises:
        UserError: an image cannot be read.
    """
    found: dict[int, Tensor] = {}
    if not isinstance(images, Tensor):
        paced = [reward for reward in rewards if type(reward).score is Reward.score]
        found = dict(zip(map(id, paced), _in_step(paced, images, prompts, batch_size), strict=True))
    return [
        found[id(reward)] if id(reward) in found else reward.score(images, prompts, batch_size=batch_size, differentiable=differentiable)
        for reward in rewards
    ]


def _in_step(rewards: Sequence[Reward], images: Sequence[Any], prompts: list[str] | None, batch_size: int | None) -> list[Tensor]:
    """Scores (B,) of each reward on the CPU; whichever is behind has the next turn."""
    if not rewards or not images:
        return [torch.zeros(0) for _ in rewards]
    sizes = [reward.at_once(batch_size) for reward in rewards]
    done, parts = [0 for _ in rewards], [list[Tensor]() for _ in rewards]
    with ExitStack() as stack, own_mode(gradients=False):
        source = _closed(stack, prefetch(opened, images, max(reward.workers for reward in rewards), ahead=2 * max(sizes)))
        copies = [Stream(images, copy) for copy in tee(source, len(rewards))]
        turns = [
            _closed(stack, reward._by_batch(copy, prompts, size, False)) for reward, copy, size in zip(rewards, copies, sizes, strict=True)
        ]
        while (least := min(done)) < len(images):
            turn = done.index(least)
            parts[turn].append(next(turns[turn]))
            done[turn] += len(parts[turn][-1])
    return [torch.cat(scores).cpu() for scores in parts]


def _closed(stack: ExitStack, stream: Iterator[Item]) -> Iterator[Item]:
    """A stream whose threads end with the stack."""
    if isinstance(stream, Generator):
        stack.callback(stream.close)
    return stream
