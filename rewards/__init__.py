"""Reward scorers: one file each. ``load(name, **fields)`` builds one by name."""

from mmalign import plugins
from mmalign.reward import Reward


def load(name: str, **fields) -> Reward:
    """The reward of that name, built with the given fields.

    Raises:
        UserError: no reward has that name; the message names the nearest.
    """
    return plugins.build(__name__, name, fields)
