"""``mmalign pairs``: preference pairs from a model's own pictures."""

from mmalign.cli.arguments import configuration
from mmalign.cli.quiet import quiet

USAGE = """usage: mmalign pairs [CONFIG] [--KEY VALUE ...]

  CONFIG       YAML file; may be left out where the options say everything
  --KEY VALUE  change a key, for instance --model.pretrained shapes/sdxl --rewards oracle --output pairs.parquet

`mmalign pairs --help` lists every key with its unit and its default."""


def run(words: list[str]) -> int:
    """Draws, labels, writes, and prints where the pairs are."""
    if not words:
        print(USAGE)
        return 2
    config = configuration("pairs", "PairsConfig", words)
    quiet(pipelines=True)
    from mmalign.pairs import run as pairs

    print(pairs(config))
    return 0
