"""Words of the command line, whose mistakes are sentences like every other mistake of a user."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from mmalign.errors import UserError
from mmalign.plugins import nearest


class Parser(argparse.ArgumentParser):
    """argparse, with ``UserError`` in place of an exit, and no abbreviated options."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs, allow_abbrev=False)

    def parse_args(self, args: Sequence[str]) -> argparse.Namespace:  # type: ignore[override]
        """What argparse gives. Raises UserError, with the nearest option for an unknown one."""
        known, rest = self.parse_known_intermixed_args(args)
        if rest:
            hint = nearest(rest[0].partition("=")[0], [option for action in self._actions for option in action.option_strings])
            raise UserError(f"unknown option {rest[0]!r} of `{self.prog}`; {hint}")
        return known

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see `{self.prog} --help`")


def configuration(command: str, kind: str, words: Sequence[str], usage: str) -> Any:
    """The configuration, of a class of ``mmalign.config``, that ``[CONFIG] [--KEY VALUE ...]`` says; ``usage`` is that of the command."""
    from mmalign import config

    path = None if words[0].startswith("-") else words[0]
    options = words if path is None else words[1:]
    return config.load_config(path, options, getattr(config, kind), prog=f"mmalign {command} [CONFIG]", about=about(usage))


def about(usage: str) -> str:
    """What a command says of itself, without the line of usage above and the mention of ``--help`` below."""
    return usage.partition("\n\n")[2].rpartition("\n\n")[0]
