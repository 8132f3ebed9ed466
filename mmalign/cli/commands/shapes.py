"""``mmalign shapes``: the embedded world's models and pictures."""

from importlib import import_module

from mmalign.errors import UserError
from mmalign.plugins import nearest

ACTIONS = {"build": "train the embedded models from scratch", "sheet": "draw a sheet of the world's pictures"}


def run(words: list[str]) -> int:
    """Hands the words to ``mmalign.shapes.build`` or ``mmalign.shapes.sheet``."""
    action, *rest = words or ["--help"]
    if action in ("-h", "--help"):
        print("usage: mmalign shapes ACTION ...\n\n" + "\n".join(f"  {name:<10}{text}" for name, text in ACTIONS.items()))
        return 0
    if action not in ACTIONS:
        raise UserError(f"unknown action {action!r}; {nearest(action, list(ACTIONS))}")
    return import_module(f"mmalign.shapes.{action}").main(rest) or 0
