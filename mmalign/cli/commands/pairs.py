"""``mmalign pairs``: preference pairs from a model's own pictures."""

from mmalign.cli.arguments import configuration
from mmalign.cli.quiet import quiet

USAGE = """usage: mmalign pairs [CONFIG] --rewards NAME ... [--KEY VALUE ...]

Preferences from a model's own pictures: best against worst, or all ranked.

  CONFIG       YAML file with the keys below, in place of options or before them
  --rewards    names (`mmalign list rewards`), or '{name: ..., its own fields}',
               which `mmalign list rewards NAME` tells

  mmalign pairs --model.pretrained shapes/sdxl --rewards oracle
  mmalign pairs --model.pretrained MODEL --prompts prompts.txt --per-prompt 8 \\
    --rewards hpsv2 --keep ranking --output rankings.parquet

`mmalign pairs --help` lists every key with its unit and its default."""


def run(words: list[str]) -> int:
    """Draws, labels, writes, and prints where the pairs are."""
    if not words:
        print(USAGE)
        return 2
    config = configuration("pairs", "PairsConfig", words, USAGE)
    quiet(pipelines=True)
    from mmalign.pairs import run as pairs

    print(pairs(config))
    return 0
