"""Preference objectives: one file per method. ``load(name, **fields)`` builds one by name."""

from mmalign import plugins
from mmalign.objective import Objective


def load(name: str, **fields) -> Objective:
    """The objective of that name with the given fields.

    Raises:
        UserError: no method has that name, or it lacks a field; the message names the nearest.
    """
    return plugins.build(__name__, name, fields)
