"""``mmalign data rrpo``: RRPO's preferences, from questions about films or several pictures."""

from mmalign.cli.arguments import configuration
from mmalign.cli.quiet import quiet

USAGE = """usage: mmalign data rrpo [CONFIG] --data.source ROWS ... [--KEY VALUE ...]

RRPO's right and wrong answers about films, with the phrases that differ.

  CONFIG            YAML file with the keys below, in place of options or before
                    them; configs/vlm/data/rrpo_qwen25.yaml is an example
  --vlm.pretrained  the model to align, whose wrong answers are rejected; left
                    out where rows have wrong answers already (column pred)
  --data.source     questions with a film, or pictures, and the right answer
  --judges          rewards that say which answers of several words are wrong
  --out             folder of Parquet files for `mmalign train`; a run that was
                    stopped goes on when the same command is given again.
                    OUT.html shows frames and phrases

  mmalign data rrpo configs/vlm/data/rrpo_qwen25.yaml --data.source rows.jsonl
  mmalign data rrpo --vlm.pretrained MODEL --data.source rows.jsonl \\
    --judges vlm_rubric --rewriter.pretrained TEXT_MODEL --out rrpo

`mmalign data rrpo --help` lists every key with its unit and its default."""


def run(words: list[str]) -> int:
    """Makes the preferences, and prints how many were kept and why the rest was not."""
    if not words:
        print(USAGE)
        return 2
    config = configuration("data rrpo", "RrpoConfig", words, USAGE)
    quiet()
    from mmalign.factory.rrpo.run import run as rrpo

    if shown := rrpo(config):
        print(shown)
    return 0
