"""What is compared, as one value: it fits into a link, a file and the metadata of a picture, and draws the same pictures again."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

from mmalign.compare import links
from mmalign.compare.seeds import LARGEST
from mmalign.errors import UserError
from mmalign.plugins import nearest

BASE = "base"
"""What the model without an adapter is called."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,47}")
"""Names of models: they stand in links and file names."""
KEY = "mmalign_view"
VERSION = 1


@dataclass(frozen=True)
class View:
    """A prompt, how it is drawn, by which models, and what scores the pictures.

    Attributes:
        seeds: of the noise, one row of pictures each.
        steps: denoising steps; None = the model's own default.
        guidance: strength of classifier-free guidance; None = the model's own default.
        width, height: pixels; None = what the model was trained on.
        frames: of a clip, for models of films; None = what the model was trained on.
        models: names in the order of their columns; empty = the base and every aligned model.
        scales: strength of adapters by name, 1 where left out, as diffusers' LoRA scale.
        rewards: scorers by title.
        user: whom personal models draw for: a name, or a mixture of names with weights; None = nobody.

    Raises:
        UserError: a value that no picture can be drawn with; the sentence names it.
    """

    prompt: str
    negative_prompt: str = ""
    seeds: tuple[int, ...] = (0,)
    steps: int | None = None
    guidance: float | None = None
    width: int | None = None
    height: int | None = None
    models: tuple[str, ...] = ()
    scales: Mapping[str, float] = field(default_factory=dict)
    rewards: tuple[str, ...] = ()
    user: str | Mapping[str, float] | None = None
    frames: int | None = None

    def __post_init__(self) -> None:
        for name in ("seeds", "models", "rewards"):
            object.__setattr__(self, name, _listed(name, getattr(self, name)))
        self._check_texts()
        self._check_numbers()
        for name in self.models:
            check_name(name)

    def _check_texts(self) -> None:
        for name in ("prompt", "negative_prompt"):
            if not isinstance(getattr(self, name), str) or "\0" in getattr(self, name):
                raise UserError(f"the {name.replace('_', ' ')} should be a text")
        if not self.prompt.strip():
            raise UserError("the prompt is empty; write what the picture should show")
        if not all(isinstance(name, str) for name in (*self.models, *self.rewards)):
            raise UserError("models and rewards are lists of names")
        if not isinstance(self.user, str | None):
            check_shares(self.user)

    def _check_numbers(self) -> None:
        if not self.seeds:
            raise UserError("there is no seed; give one, such as 0")
        for seed in self.seeds:
            if not _whole(seed) or not 0 <= seed <= LARGEST:
                raise UserError(f"{seed!r} is no seed; give whole numbers from 0 to {LARGEST}")
        for name, least in (("steps", 1), ("frames", 1), ("width", 8), ("height", 8)):
            value = getattr(self, name)
            if value is not None and (not _whole(value) or value < least):
                what = name if name in ("steps", "frames") else f"pixels for the {name}"
                raise UserError(f"{value!r} is no number of {what}; give {least} or more")
        if self.guidance is not None and not (_number(self.guidance) and 0 <= self.guidance <= 100):
            raise UserError(f"the guidance is {self.guidance!r}; give a number from 0 to 100")
        if not isinstance(self.scales, Mapping):
            raise UserError("the scales should be numbers by name of a model")
        for name, scale in self.scales.items():
            if not (_number(scale) and -5 <= scale <= 5):
                raise UserError(f"the scale of {name} is {scale!r}; give a number from -5 to 5")

    # ---- as a file and as a link

    def to_json(self) -> str:
        """The view as a file's content; what is left out has its default."""
        return json.dumps({KEY: VERSION, **self._said()}, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Reads what ``to_json`` wrote. Raises UserError where it is no view."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError("this file is no view: it is not JSON; give one that the page has written") from error
        if not isinstance(values, dict) or values.pop(KEY, None) != VERSION:
            raise UserError(f"this file is no view: it lacks {KEY!r}: {VERSION}; give one that the page has written")
        return cls.of(values)

    def to_query(self) -> str:
        """The view as the query string of a link."""
        return links.written(self._said())

    @classmethod
    def from_query(cls, query: str | Mapping[str, str]) -> Self | None:
        """Reads what ``to_query`` wrote; None where there is no prompt. Words that are not ours are passed over.

        Raises:
            UserError: it asks for something that cannot be drawn.
        """
        values = links.read(query)
        return cls.of(values) if "prompt" in values else None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """A view of values by name. Raises UserError for an unknown name, or where no view can have a value."""
        known = [one.name for one in fields(cls)]
        for name in values:
            if name not in known:
                raise UserError(f"a view has no {name!r}; {nearest(str(name), known)}")
        return cls(**{"prompt": "", **values})

    def _said(self) -> dict[str, Any]:
        """What differs from the defaults."""
        plain = View(self.prompt)
        said = {one.name: getattr(self, one.name) for one in fields(self)}
        said = {name: value for name, value in said.items() if name == "prompt" or value != getattr(plain, name)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in said.items()}

    # ---- parts of it

    def only(self, model: str, seed: int) -> "View":
        """The view of one of its pictures."""
        scales = {name: scale for name, scale in self.scales.items() if name == model}
        return replace(self, models=(model,), seeds=(seed,), scales=scales)

    def scale(self, model: str) -> float:
        """The strength of a model's adapter."""
        return float(self.scales.get(model, 1.0))


def check_name(name: str) -> str:
    """The name as it was given. Raises UserError where no model can be called so."""
    if not NAME.fullmatch(name):
        raise UserError(f"{name!r} is no name for a model; use up to 48 letters, digits, dots, dashes and underscores")
    return name


def check_shares(shares: Any) -> None:
    """Raises UserError where this is no mixture of users."""
    if not isinstance(shares, Mapping) or not shares:
        raise UserError("a user is a name, or names with weights")
    for name, share in shares.items():
        if not isinstance(name, str) or not _number(share) or not -10 <= share <= 10:
            raise UserError(f"the weight of user {name} is {share!r}; give a number from -10 to 10")


def _listed(name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise UserError(f"the {name} should be a list")
    if len(set(map(repr, value))) < len(value):
        raise UserError(f"the {name} have one twice; leave it out")
    return tuple(value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
