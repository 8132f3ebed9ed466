"""``mmalign score``: images scored by rewards."""

from mmalign.cli.arguments import about
from mmalign.cli.quiet import quiet
from mmalign.errors import UserError

USAGE = """usage: mmalign score [CONFIG] [IMAGES ...] --rewards NAME ... [--KEY VALUE ...]

Scores images, or clips by some of their frames, under prompts, by one reward
or several.

  IMAGES       files, folders, globs in quotes, .tar shards, tables (.parquet,
               .jsonl, .json, .csv), data sets on the hub; before the options
  --rewards    names (`mmalign list rewards`), or '{name: ..., its own fields}',
               which `mmalign list rewards NAME` tells
  --prompt     one prompt for all images; left out = their own, from NAME.txt
               beside NAME.png, metadata of the folder, or a column
  --out        .parquet, .csv or .jsonl; a run that was stopped goes on where
               it stood when the same command is given again
  CONFIG       YAML file with the keys below, in place of options or before them

  mmalign score fox.png --prompt "a red fox" --rewards hpsv2
  mmalign score pictures --rewards hpsv2 pickscore --out scores.csv
  mmalign score rows.parquet --prompt-column caption --rewards hpsv2 --out s.csv
  mmalign score pictures --prompt "a red fox" --rewards aesthetic \\
    "{name: hpsv2, version: '2.0', label: hps20}" hpsv2
  torchrun --nproc-per-node 8 -m mmalign score a/ --rewards hpsv2 --out s.csv

`mmalign score --help` lists every key with its unit and its default."""


def run(words: list[str]) -> int:
    """Scores, and prints the table and where its file is."""
    if not words:
        print(USAGE)
        return 2
    from mmalign.config import ScoreConfig, load_config

    path, options = _parted(words)
    config = load_config(path, options, ScoreConfig, prog="mmalign score [CONFIG] [IMAGES ...]", about=about(USAGE))
    quiet()
    from mmalign.scoring.run import run as score

    if shown := score(config):
        print(shown)
    return 0


def _parted(words: list[str]) -> tuple[str | None, list[str]]:
    """The configuration file, and the options with the words before them as ``--images``."""
    count = next((place for place, word in enumerate(words) if word.startswith("-")), len(words))
    before, options = words[:count], words[count:]
    path = before.pop(0) if before and before[0].endswith((".yaml", ".yml")) else None
    if before and any(option.partition("=")[0] == "--images" for option in options):
        raise UserError(f"the images are given twice, as {before[0]} and as --images; leave one out")
    return path, [*(["--images", *before] if before else []), *options]
