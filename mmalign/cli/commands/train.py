"""``mmalign train CONFIG``: align a model, or train a reward scorer, as a YAML file says."""

from mmalign.cli.quiet import quiet
from mmalign.errors import UserError

USAGE = """usage: mmalign train CONFIG [--dry-run] [--KEY VALUE ...]

  CONFIG       YAML file; the ones in configs/ are examples, those in configs/reward/ of training a scorer
  --dry-run    build everything, run one batch, print what would be done, and stop
  --KEY VALUE  change a key of the file, for instance --train.learning-rate 1e-5 --method.beta 100

`mmalign train CONFIG --help` lists every key with its unit and the value it has."""


def run(words: list[str]) -> int:
    """Trains, and prints where the result is; a dry run says itself what it would do."""
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if words else 2
    path, *options = words
    if path.startswith("-"):
        raise UserError(f"the configuration file comes first: mmalign train CONFIG {' '.join(words)}")
    from mmalign.config import ScorerRunConfig, load_training

    dry_run = "--dry-run" in options
    config = load_training(path, [option for option in options if option != "--dry-run"], prog=f"mmalign train {path}")
    quiet(pipelines=not isinstance(config, ScorerRunConfig))
    from mmalign.training.run import train

    result = train(config, dry_run=dry_run)
    if not dry_run:
        print(result)
    return 0
