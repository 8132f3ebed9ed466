"""``mmalign data realign``: preferences with the nearest other picture beside each row's own."""

from mmalign.cli.arguments import configuration
from mmalign.cli.quiet import quiet

USAGE = """usage: mmalign data realign [CONFIG] --data.source ROWS ... [--KEY VALUE ...]

Preferences with the nearest other picture beside each row's own.

  CONFIG            YAML file with the keys below, in place of options or before
                    them; configs/vlm/data/realign_llava16.yaml is an example
  --vlm.pretrained  the model to align, whose vision features tell what is near
  --data.source     preferences about one picture each
  --pool            folder of pictures to search; left out = the rows' own
  --out             folder of Parquet files for `mmalign train`; a run that was
                    stopped goes on when the same command is given again.
                    OUT.html shows the pictures, OUT.features keeps what the
                    model saw for other runs

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
