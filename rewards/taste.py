"""What one user of the shapes world likes about a picture's style; captions play no part."""

from collections.abc import Mapping

from torch import Tensor

from mmalign.errors import UserError
from mmalign.plugins import nearest
from mmalign.reward import Reward
from mmalign.shapes.tastes import Taste, users


class UserTaste(Reward):
    """The weighted mean of the style measures of a picture, read from its pixels.

    Args:
        user: a user's name from ``mmalign.shapes.tastes.users()``; ``bold`` where neither a user nor weights are given.
        weights: in place of a user, weights by style factor, as in ``{"outline": 1, "softness": -0.5}``.

    Raises:
        UserError: unknown user or factor, or both a user and weights.
    """

    needs_prompt = False
    differentiable = False
    range = (-1.0, 1.0)
    unit = "weighted mean of style measures"
    licence = "Apache-2.0"
    source = "mmalign.shapes.tastes"

    def __init__(self, user: str | None = None, weights: Mapping[str, float] | None = None) -> None:
        if user is not None and weights is not None:
            raise UserError("reward 'taste' takes a user or weights, not both; leave one out")
        self.taste = _user(user or "bold") if weights is None else _taste(weights)

    def _score(self, images: Tensor, prompts: list[str] | None) -> Tensor:
        return self.taste.score(images)


def _user(name: str) -> Taste:
    if name not in users():
        raise UserError(f"reward 'taste' knows no user {name!r}; {nearest(name, list(users()))}")
    return users()[name]


def _taste(weights: Mapping[str, float]) -> Taste:
    try:
        return Taste(weights)
    except ValueError as error:
        raise UserError(f"reward 'taste': {error}") from error


PLUGIN = UserTaste
