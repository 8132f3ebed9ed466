"""``mmalign train CONFIG``: align a model, or train a reward scorer, as a YAML file says."""

import difflib
from pathlib import Path

from mmalign.cli.quiet import quiet
from mmalign.errors import UserError

FLAGS = ("--dry-run", "--profile", "--trace")
USAGE = """usage: mmalign train CONFIG [--dry-run | --profile [--trace FILE]] [--KEY VALUE ...]

  CONFIG       YAML file; the ones in configs/ are examples, those in configs/reward/ of training a scorer
  --dry-run    build everything, estimate memory, run one batch, print what would be
               done, and stop
  --profile    take a few steps, print where their time and memory go and what bounds them, and stop
  --trace FILE with --profile: write a trace of two steps too, for chrome://tracing or ui.perfetto.dev
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

    check_flags(options)
    dry_run, profile, trace = taken(options, "--dry-run"), taken(options, "--profile"), value_of(options, "--trace")
    if (profile and dry_run) or (trace and not profile):
        raise UserError("--trace goes with --profile, and --profile without --dry-run; leave one of them out")
    config = load_training(path, options, prog=f"mmalign train {path}")
    quiet(pipelines=not isinstance(config, ScorerRunConfig))
    if profile:
        from mmalign.training.run import profiled

        profiled(config, None if trace is None else Path(trace))
        return 0
    from mmalign.resumable.processes import Processes
    from mmalign.training.run import train

    result = train(config, dry_run=dry_run)
    if not dry_run and Processes.found().is_main:
        print(result)
    return 0


def check_flags(options: list[str]) -> None:
    """Raises UserError where an option is nearly one of the command's own, which no key of the configuration is."""
    for option in options:
        close = difflib.get_close_matches(option, FLAGS, n=1, cutoff=0.75) if option.startswith("--") and "." not in option else []
        if close and option not in FLAGS:
            raise UserError(f"unknown option {option!r}; did you mean {close[0]!r}?")


def taken(options: list[str], flag: str) -> bool:
    """Whether a flag is among the words; it is taken out."""
    there = flag in options
    options[:] = [option for option in options if option != flag]
    return there


def value_of(options: list[str], name: str) -> str | None:
    """The word after a name, both of which are taken out; None where it is not there. Raises UserError where nothing follows."""
    if name not in options:
        return None
    place = options.index(name)
    if place + 1 == len(options):
        raise UserError(f"{name} is followed by no file; give one, such as {name} trace.json")
    value = options[place + 1]
    del options[place : place + 2]
    return value
