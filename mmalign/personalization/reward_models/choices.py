"""Choices of users between two pictures, as features."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Choices:
    """What U users chose, M times each at most.

    Attributes:
        chosen, rejected: features (U, M, F) of the pictures.
        there: (U, M), false where a user has fewer choices than M.
        prompts: (U, M), numbers that tell the prompts of a user's choices apart; None = all differ.
    """

    chosen: Tensor
    rejected: Tensor
    there: Tensor
    prompts: Tensor | None = None

    def __post_init__(self) -> None:
        told = self.there if self.prompts is None else self.prompts
        if self.chosen.shape != self.rejected.shape or self.chosen.ndim != 3 or not self.there.shape == told.shape == self.chosen.shape[:2]:
            shapes = tuple(self.chosen.shape), tuple(self.rejected.shape), tuple(self.there.shape)
            raise ValueError(f"choices are (U, M, F), (U, M, F) and (U, M), not {shapes}")

    @classmethod
    def of(cls, users: Tensor, chosen: Tensor, rejected: Tensor, prompts: Tensor | None = None) -> "Choices":
        """From rows: users (N,) numbered from 0, features (N, F), numbers of prompts (N,); a user's choices keep their order."""
        counts = torch.bincount(users)
        order = torch.argsort(users, stable=True)
        place = torch.arange(len(users)) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
        empty = chosen.new_zeros(len(counts), int(counts.max()), chosen.shape[1])
        row = users[order], place
        there = torch.zeros(empty.shape[:2], dtype=torch.bool)
        there[row] = True
        numbers = None if prompts is None else torch.zeros(empty.shape[:2], dtype=torch.int64).index_put(row, prompts[order])
        return cls(empty.index_put(row, chosen[order]), empty.index_put(row, rejected[order]), there, numbers)

    def __len__(self) -> int:
        return len(self.there)

    def users(self, rows: Tensor) -> "Choices":
        """Those of some users only."""
        return Choices(self.chosen[rows], self.rejected[rows], self.there[rows], None if self.prompts is None else self.prompts[rows])

    def split(self, shots: int) -> tuple["Choices", "Choices"]:
        """The first so many choices of every user, and the rest."""
        return self._part(slice(None, shots)), self._part(slice(shots, None))

    def drawn(self, most: int, generator: torch.Generator) -> tuple["Choices", "Choices"]:
        """For every user one to ``most`` choices at random, and others of the same user, under other prompts.

        A user with a single prompt has others under the same one; with a single choice, the same one in both parts.
        """
        values = torch.where(self.there, torch.rand(self.there.shape, generator=generator), 2.0)
        last = self._last_prompt(values)
        mixed = self._ordered(torch.where(last, values + 1, values).argsort(1))
        count = mixed.there.sum(1, keepdim=True)
        few = torch.randint(1, most + 1, (len(self), 1), generator=generator).minimum((count - last.sum(1, keepdim=True)).clamp_min(1))
        place = torch.arange(self.there.shape[1])
        shown = mixed.there & (place < few)
        rest = mixed.there & ((place >= few) | (count == 1)) & ~mixed._known(shown, most)
        first = mixed._part(slice(None, most))
        return replace(first, there=shown[:, :most]), replace(mixed, there=rest)

    def _last_prompt(self, values: Tensor) -> Tensor:
        """(U, M), true for the choices under the prompt of the one that would come last, which are not shown; of a user with a single
        prompt for that one alone."""
        latest = values.masked_fill(~self.there, -1).argmax(1, keepdim=True)
        alone = torch.zeros_like(self.there).scatter(1, latest, True) & self.there
        if self.prompts is None:
            return alone
        same = self.there & (self.prompts == self.prompts.gather(1, latest))
        return torch.where((same == self.there).all(1, keepdim=True), alone, same)

    def _known(self, shown: Tensor, most: int) -> Tensor:
        """(U, M), true for choices under a prompt of those that are shown, which are the first; never of a user with a single prompt."""
        if self.prompts is None:
            return torch.zeros_like(self.there)
        same = ((self.prompts[:, :, None] == self.prompts[:, None, :most]) & shown[:, None, :most]).any(2)
        several = ((self.prompts != self.prompts[:, :1]) & self.there).any(1, keepdim=True)
        return same & several

    def _ordered(self, order: Tensor) -> "Choices":
        sides = (side.gather(1, order[..., None].expand_as(side)) for side in (self.chosen, self.rejected))
        return Choices(*sides, self.there.gather(1, order), None if self.prompts is None else self.prompts.gather(1, order))

    def _part(self, part: slice) -> "Choices":
        prompts = None if self.prompts is None else self.prompts[:, part]
        return Choices(self.chosen[:, part], self.rejected[:, part], self.there[:, part], prompts)

    def mean(self, values: Tensor) -> Tensor:
        """Mean over the choices that are there, of values (U, M)."""
        return values[self.there].mean()


def accuracy(margins: Tensor, choices: Choices) -> Tensor:
    """How often the chosen picture has the larger reward, per user (U,); equal rewards count half, a user without choices is NaN.

    Args:
        margins: (U, M), reward of the chosen minus that of the rejected picture.
    """
    right = torch.where(choices.there, (margins.sign() + 1) / 2, 0.0)
    return right.sum(1) / choices.there.sum(1)
