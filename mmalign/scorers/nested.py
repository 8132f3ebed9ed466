"""Rewards inside a reward's configuration: ``{name: weighted_sum, rewards: [{name: hpsv2, weight: 2}, pickscore]}``."""

import functools
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar

from pydantic import Field, create_model
from pydantic_core import PydanticCustomError

from mmalign.config import RewardConfig, from_mapping
from mmalign.config.plugin import named
from mmalign.config.section import Section
from mmalign.reward import Reward

Kind = TypeVar("Kind", bound=RewardConfig)
DEEPEST = 8
_depth: ContextVar[int] = ContextVar("depth", default=0)


class Built(RewardConfig):
    """An entry whose reward was built before; there is none in a file."""

    reward: Any = Field(description="the reward")

    def build(self) -> Reward:
        return self.reward


def entry(kind: type[RewardConfig]) -> Callable[[Any], Any]:
    """A validator that reads a nested reward into a section of a kind, whose keys stand beside those of the reward.

    It takes a name, a mapping with a name, a Reward, or ``{"reward": a Reward, ...}`` with keys of the kind.
    """
    read = named(kind)

    def validate(value: Any) -> Any:
        if isinstance(value, Reward):
            value = {"reward": value}
        if isinstance(value, Mapping) and isinstance(value.get("reward"), Reward):
            return _built(kind).model_validate({"name": type(value["reward"]).__name__, **value})
        # a YAML file may hold a mapping that contains itself
        if _depth.get() == DEEPEST:
            raise PydanticCustomError("deep", "rewards should be nested at most {deepest} deep", {"deepest": DEEPEST})
        token = _depth.set(_depth.get() + 1)
        try:
            return read(value)
        finally:
            _depth.reset(token)

    return validate


def checked(owner: str, field: str, annotation: Any, value: Any) -> Any:
    """A field as its annotation reads it, for a constructor that is called from Python.

    Args:
        owner: the reward's name, for messages.

    Raises:
        UserError: as a configuration's mistakes are told, with the field's whole path.
    """
    return getattr(from_mapping({field: value}, _holder(field, annotation), f"reward {owner!r}"), field)


@functools.cache
def _built(kind: type[RewardConfig]) -> type[RewardConfig]:
    return create_model(f"Built{kind.__name__}", __base__=(Built, kind))


def _holder(field: str, annotation: Any) -> type[Section]:
    fields: dict[str, Any] = {field: (annotation, ...)}
    return create_model("Holder", __base__=Section, **fields)
