"""``mmalign data realign``: preferences with the nearest other picture beside each row's own."""

from mmalign.cli.arguments import configuration
from mmalign.cli.quiet import quiet

USAGE = """usage: mmalign data realign [CONFIG] --vlm.pretrained MODEL --data.source ROWS [--KEY VALUE ...]

Preferences among responses with a picture to compare with, for methods such as
rdpo: the nearest one by the model's own vision features that is not the same.

  CONFIG            YAML file with the keys below, in place of options or before
                    them
  --vlm.pretrained  the model to align: folder or hub id
  --data.source     preferences about one picture each
  --pool            folder of pictures to search; left out = the rows' own
  --out             folder of Parquet files, for `mmalign train --data.source`; a
                    run that was stopped goes on when the same command is given
                    again. OUT.html shows the pictures, OUT.features keeps what
                    the model saw for other runs

  mmalign data realign --vlm.pretrained MODEL --data.source rows.jsonl \\
    --pool coco/train2014 --out realign

`mmalign data realign --help` lists every key with its unit and its default."""


def run(words: list[str]) -> int:
    """Finds the pictures, and prints for how many rows there are some."""
    if not words:
        print(USAGE)
        return 2
    config = configuration("data realign", "RealignConfig", words, USAGE)
    quiet()
    from mmalign.factory.realign.run import run as realign

    if shown := realign(config):
        print(shown)
    return 0
