"""``mmalign list``: the plug-ins there are, each with the first line of its file."""

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
    return [f"{name:<{width}}  {describe(package, name)}" for name in names]


def describe(package: str, name: str) -> str:
    """The first line of a plug-in's file, and the facts that a reward declares; only rewards are imported, which takes seconds."""
    line = plugins.first_line(package, name).replace("``", "")
    if package != KINDS["rewards"]:
        return line
    reward = plugins.load(package, name)
    low, high = reward.range
    return f"{line} [{reward.unit}, {low:g} to {high:g}, {reward.licence}]"
