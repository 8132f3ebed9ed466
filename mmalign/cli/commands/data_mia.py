"""``mmalign data mia``: MIA-DPO's preferences, from questions about one picture."""

from mmalign.cli.arguments import configuration
from mmalign.cli.quiet import quiet

USAGE = """usage: mmalign data mia [CONFIG] --data.source ROWS ... [--KEY VALUE ...]

MIA-DPO's preferences about several pictures, from questions about one.

  CONFIG            YAML file with the keys below, in place of options or before
                    them; configs/vlm/data/mia_llava15.yaml is the published way
  --vlm.pretrained  the model to align, whose answers are the rejected ones
  --data.source     questions with one picture and the right answer
  --out             folder of Parquet files for `mmalign train`; a run that was
                    stopped goes on when the same command is given again.
                    OUT.html shows what was kept, what was not, and why

  mmalign data mia configs/vlm/data/mia_llava15.yaml --data.source rows.json
  accelerate launch -m mmalign data mia configs/vlm/data/mia_qwen25.yaml

`mmalign data mia --help` lists every key with its unit and its default."""


def run(words: list[str]) -> int:
    """Makes the preferences, and prints how many were kept and why the rest was not."""
    if not words:
        print(USAGE)
        return 2
    config = configuration("data mia", "MiaConfig", words, USAGE)
    quiet()
    from mmalign.factory.mia.run import run as mia

    if shown := mia(config):
        print(shown)
    return 0
