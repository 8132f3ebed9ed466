"""What scorers say of pictures, and how much more or less than of the base's."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

from PIL import Image

from mmalign.errors import UserError, out_of_memory
from mmalign.frames import score_clips
from mmalign.hub import first_line
from mmalign.plugins import nearest
from mmalign.reward import Reward


@dataclass(frozen=True)
class Scored:
    """One reward's column.

    Attributes:
        reward: its title.
        unit: what one is.
        higher_is_better: whether more is better.
        values: a score for each picture; None where there is none.
        differences: to the base's picture of the same noise; None where there is none.
        why: why scores are missing, as a sentence; empty where none is.
    """

    reward: str
    unit: str
    higher_is_better: bool
    values: tuple[float | None, ...]
    differences: tuple[float | None, ...]
    why: str = ""


class Scorers:
    """Rewards by title, each loaded when it is first asked, and asked by one at a time.

    Args:
        rewards: by title; what can be called is called once, and gives the reward.
    """

    def __init__(self, rewards: Mapping[str, Reward | Callable[[], Reward]]):
        self._rewards = dict(rewards)
        self._turn = Lock()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._rewards)

    def check(self, names: Sequence[str]) -> None:
        """Raises UserError where one of these is not there."""
        for name in names:
            if name not in self._rewards:
                known = nearest(name, list(self.names)) if self._rewards else "there are none here."
                raise UserError(f"no reward is called {name!r}; {known}")

    def get(self, name: str) -> Reward:
        """A reward by title, loaded now if it was not. Raises UserError where it is not there or cannot be loaded."""
        self.check([name])
        with self._turn:
            return self._loaded(name)

    def score(
        self,
        name: str,
        images: Sequence[Image.Image | Sequence[Image.Image]],
        prompts: Sequence[str] | None,
        against: Sequence[int | None] | None = None,
    ) -> Scored:
        """One reward's scores.

        Args:
            images: pictures, or the frames of each clip that are to be scored.
            prompts: of each picture; None = there are none, for rewards that need none.
            against: of each picture the place of the one that it is compared to; None = none is.

        Raises:
            UserError: there is no such reward.
        """
        self.check([name])
        with self._turn:
            try:
                reward = self._loaded(name)
                clips = [[image] if isinstance(image, Image.Image) else image for image in images]
                values = [_finite(value) for value in score_clips(reward, clips, None if prompts is None else list(prompts)).tolist()]
            except (UserError, ValueError, OSError, RuntimeError, MemoryError) as error:
                # one scorer's trouble, such as weights that are not there, is not the others'
                nothing = (None,) * len(images)
                return Scored(name, *self._facts(name), nothing, nothing, _why(error))
        differences = tuple(_difference(values, place, other) for place, other in enumerate(against or [None] * len(values)))
        why = "" if None not in values else "some scores are not a number"
        return Scored(name, *self._facts(name), tuple(values), differences, why)

    def _loaded(self, name: str) -> Reward:
        found = self._rewards[name]
        if not isinstance(found, Reward):
            found = self._rewards[name] = found()
        return found

    def _facts(self, name: str) -> tuple[str, bool]:
        found = self._rewards[name]
        return (found.unit, found.higher_is_better) if isinstance(found, Reward) else ("", True)


def _why(error: Exception) -> str:
    if out_of_memory(error):
        return "the memory is not enough for this scorer"
    return str(error) if isinstance(error, UserError) else first_line(error)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _difference(values: Sequence[float | None], place: int, other: int | None) -> float | None:
    if other is None:
        return None
    value, base = values[place], values[other]
    return None if value is None or base is None else value - base
