"""``mmalign data cache``: fill the caches of a training run ahead of it, or tell what they hold."""

from mmalign.cli.quiet import quiet
from mmalign.errors import UserError

USAGE = """usage: mmalign data cache CONFIG [--list] [--prune] [--KEY VALUE ...]

  CONFIG       YAML file of a run of an image generator, with data.cache_dir
  --list       say what the folder holds, and compute nothing
  --prune      remove what this run does not read, after filling; give the
               folder to one configuration alone, or leave this out
  --KEY VALUE  change a key of the file, for instance --data.reference-draws 4

Latents, prompt embeddings and, with data.reference_draws, reference errors.
What is there is not computed again: a fill that was stopped goes on.

  mmalign data cache configs/sdxl_diffusion_dpo_lora.yaml --data.cache-dir cache
  accelerate launch -m mmalign data cache CONFIG"""


def run(words: list[str]) -> int:
    """Fills or lists, and prints what there is then."""
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        raise SystemExit(0 if words else 2)
    path, *options = words
    if path.startswith("-"):
        raise UserError(f"the configuration file comes first: mmalign data cache CONFIG {' '.join(words)}")
    flags = {option for option in options if option in ("--list", "--prune")}
    if len(flags) == 2:
        raise UserError("--list changes nothing and --prune removes; give one of them")
    from mmalign.config import load_training

    config = load_training(path, [option for option in options if option not in flags], prog=f"mmalign data cache {path}")
    quiet(pipelines=True)
    from mmalign.data.cache_folder import CacheFolder
    from mmalign.training.fill import checked, fill, listed

    if "--list" in flags:
        lines = listed(CacheFolder.at(checked(config).data.cache_dir, writes=False))
    else:
        lines = fill(config, prune="--prune" in flags)
    for line in lines:
        print(line)
    return 0
