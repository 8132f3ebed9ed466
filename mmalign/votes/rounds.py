"""What is shown for a vote, and what is told after it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image

Choice = Literal["left", "right", "tie", "both_bad", "skip"]
CHOICES: tuple[Choice, ...] = ("left", "right", "tie", "both_bad", "skip")

Settings = Mapping[str, Any]
"""How the two sides were made: seed, steps, guidance, size, negative prompt; anything JSON can say."""


@dataclass(frozen=True)
class Contender:
    """One side: who made it, and what was made.

    Attributes:
        model: what the reveal calls it, such as "aligned".
        about: what tells this model from another of that name: weights, adapter's digest, scale.
        content: a picture, or the text of an answer.
    """

    model: str
    content: Image.Image | str
    about: str = ""


@dataclass(frozen=True)
class Round:
    """Two sides as they stand on the screen. Nothing here tells who made which.

    Attributes:
        id: random, 128 bits; what a vote is given for.
        left, right: a picture, or the text of an answer.
    """

    id: str
    prompt: str
    left: Image.Image | str
    right: Image.Image | str


@dataclass(frozen=True)
class Revealed:
    """Who stood where, told once the vote is kept."""

    left: str
    right: str
    choice: Choice

    @property
    def preferred(self) -> str | None:
        """The model that was preferred; None for any other choice."""
        return {"left": self.left, "right": self.right}.get(self.choice)


@dataclass(frozen=True)
class Cast:
    """One vote as it is counted."""

    round: int
    prompt: str
    voter: str
    left: str
    right: str
    choice: Choice
    seconds: float
    """Since 1970."""
