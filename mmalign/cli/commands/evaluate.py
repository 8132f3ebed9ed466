"""``mmalign evaluate``: compare a base with its aligned self."""

from mmalign.cli.arguments import configuration
from mmalign.cli.quiet import quiet

USAGE = """usage: mmalign evaluate [CONFIG] [--KEY VALUE ...]

  CONFIG       YAML file; may be left out where the options say everything
  --KEY VALUE  change a key, for instance --pretrained shapes/sdxl --adapter-path runs/x --rewards oracle --aligned-to oracle

`mmalign evaluate --help` lists every key with its unit and its default."""


def run(words: list[str]) -> int:
    """Evaluates, and prints where the report is."""
    if not words:
        print(USAGE)
        return 2
    config = configuration("evaluate", "EvaluateConfig", words, USAGE)
    quiet(pipelines=True)
    from mmalign.evaluation.run import run as evaluate

    print(evaluate(config))
    return 0
