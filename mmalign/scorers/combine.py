"""Rewards made of other rewards: what their members' facts make of theirs, and how scores come together."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from math import inf

import torch
from torch import Tensor

from mmalign.errors import UserError
from mmalign.reward import Images, Reward
from mmalign.scorers.together import score_together


class Combination(Reward):
    """Scores that are made of the members' scores.

    The facts that follow from the members' (``needs_prompt``, ``differentiable``, ``range``, ``unit``, ``licence``, ``joint``) are those of
    the object; on the class stands what holds of most. A combination may be a member of another. Members go through the images together,
    each in batches of its own size unless ``score`` is told one.

    Args:
        members: one reward or more; one that is there twice scores once.
    """

    needs_prompt = True
    differentiable = True
    range = (-inf, inf)
    licence = "those of its members"

    def __init__(self, members: Sequence[Reward]) -> None:
        self.members = list(members)
        self.declare(
            needs_prompt=any(member.needs_prompt for member in members),
            differentiable=all(member.differentiable for member in members),
            joint=any(member.joint for member in members),
            licence="; ".join(dict.fromkeys(member.licence for member in members)),
        )
        self.batch_size = max(member.batch_size for member in members)

    def score(
        self, images: Images, prompts: str | Iterable[str] | None = None, *, batch_size: int | None = None, differentiable: bool = False
    ) -> Tensor:
        """Scores (B,) as ``Reward.score`` gives them; every image is opened once for all members."""
        if differentiable:
            self._check_differentiable(images)
        images, prompts = self.matched(images, prompts)
        return self.combine(self._columns(images, prompts, batch_size, differentiable), prompts)

    def columns(self, images: Images, prompts: str | Iterable[str] | None = None) -> Tensor:
        """The members' own scores (members, B), float32, without gradients."""
        return self._columns(*self.matched(images, prompts), None, False)

    @abstractmethod
    def combine(self, columns: Tensor, prompts: list[str] | None) -> Tensor:
        """Scores (B,) of the members' scores (members, B) under their prompts."""

    def _columns(self, images: Images, prompts: list[str] | None, batch_size: int | None, differentiable: bool) -> Tensor:
        leaves = list({id(leaf): leaf for leaf in self._leaves()}.values())
        scores = score_together(leaves, images, prompts, batch_size=batch_size, differentiable=differentiable)
        return self._gathered({id(leaf): column for leaf, column in zip(leaves, scores, strict=True)}, prompts)

    def _leaves(self) -> list[Reward]:
        """The rewards below this one that are no combinations."""
        parts = [member._leaves() if isinstance(member, Combination) else [member] for member in self.members]
        return [leaf for part in parts for leaf in part]

    def _gathered(self, scores: dict[int, Tensor], prompts: list[str] | None) -> Tensor:
        columns = [
            member.combine(member._gathered(scores, prompts), prompts) if isinstance(member, Combination) else scores[id(member)]
            for member in self.members
        ]
        return torch.stack(columns)

    def _score(self, images: Tensor, prompts: list[str] | None) -> Tensor:
        return self.score(images, prompts, differentiable=images.requires_grad)


class Sum(Combination):
    """The sum of one term per member, each a monotone function of the member's score."""

    def __init__(self, members: Sequence[Reward]) -> None:
        super().__init__(members)
        ends = self.terms(torch.tensor([member.range for member in members]))
        self.declare(range=(ends.amin(1).sum().item(), ends.amax(1).sum().item()))

    @abstractmethod
    def terms(self, columns: Tensor) -> Tensor:
        """Terms (members, B) of the members' scores (members, B)."""

    def combine(self, columns: Tensor, prompts: list[str] | None) -> Tensor:
        return self.terms(columns).sum(0)


def check_direction(owner: str, members: Sequence[Reward], key: str, values: Sequence[float]) -> None:
    """Raises UserError unless every reward of which less is better is turned round by a negative value of a key."""
    for place, (member, value) in enumerate(zip(members, values, strict=True)):
        if not member.higher_is_better and value > 0:
            what = f"rewards[{place}] ({type(member).__name__}) is the better the lower it is"
            raise UserError(f"reward {owner!r}: {what}; give it a negative {key}, such as -1")
