"""``mmalign list``: the plug-ins there are, each with the first line of its file."""

import inspect
from typing import Any

from mmalign import plugins
from mmalign.cli.arguments import Parser

KINDS = {
    "methods": "mmalign.objectives",
    "families": "mmalign.pipelines",
    "rewards": "mmalign.rewards",
    "datasets": "mmalign.data.readers",
}


def run(words: list[str]) -> int:
    """Prints one kind, or all of them."""
    parser = Parser(prog="mmalign list", description="What there is, by name; a dotted module name adds one of your own.")
    parser.add_argument("kind", nargs="?", choices=list(KINDS), help="one kind; left out = all")
    chosen = parser.parse_args(words).kind
    for kind in [chosen] if chosen else KINDS:
        if not chosen:
            print(f"{kind}:")
        for line in rows(KINDS[kind]):
            print(f"  {line}")
    return 0


def rows(package: str) -> list[str]:
    """A line per plug-in: name, what it is, and for a reward its unit, range and licence."""
    names = plugins.names(package)
    width = max(map(len, names), default=0)
    return [f"{name:<{width}}  {describe(plugins.load(package, name))}" for name in names]


def describe(plugin: Any) -> str:
    """The first line of a plug-in's file, and the facts that a reward declares."""
    line = (inspect.getdoc(inspect.getmodule(plugin)) or "").partition("\n")[0].replace("``", "")
    if not hasattr(plugin, "licence"):
        return line
    low, high = plugin.range
    return f"{line} [{plugin.unit}, {low:g} to {high:g}, {plugin.licence}]"
