"""Filling the caches of a run ahead of it, and removing what it does not read."""

from collections.abc import Iterator

from mmalign.config import RunConfig, TrainingConfig
from mmalign.data.cache_folder import CacheFolder, sized
from mmalign.data.cache_index import WIDTH, Shard
from mmalign.errors import UserError
from mmalign.training.dataset import tokens_key
from mmalign.training.prepared import Prepared, prepared
from mmalign.training.reference_errors import fill_errors
from mmalign.training.run import make_accelerator


def fill(config: TrainingConfig, prune: bool = False) -> list[str]:
    """Computes what a run would read from its caches and is not there; what is there is left, so that a fill that was stopped goes on.

    Args:
        config: the run's configuration, with a folder for the caches.
        prune: remove the shards of the folder that this run reads nothing from.

    Returns:
        Lines that say what there is now; none in processes beside the main one.

    Raises:
        UserError: the configuration names no folder or is of another kind, or images are broken.
    """
    config = checked(config)
    accelerator = make_accelerator(config.train, config.output_dir.expanduser())
    ready = prepared(config, accelerator)
    computed = fill_errors(ready, accelerator)
    accelerator.wait_for_everyone()
    if not accelerator.is_main_process:
        return []
    said = [f"computed {computed:,} reference errors here"] if computed else []
    return said + (list(pruned(ready)) if prune else []) + listed(CacheFolder.at(config.data.cache_dir, writes=False))


def checked(config: TrainingConfig) -> RunConfig:
    """The configuration itself. Raises UserError where it has no caches to fill."""
    if not isinstance(config, RunConfig):
        remedy = "data.reference_cache of a vision-language model is filled while it trains"
        raise UserError(f"`mmalign data cache` is for runs that align an image generator, and this one is not; {remedy}")
    if config.data.cache_dir is None:
        raise UserError("data.cache_dir is not set, so that there is no folder to fill; set it in the file or by --data.cache-dir FOLDER")
    return config


def listed(caches: CacheFolder) -> list[str]:
    """What the caches of a folder hold, as lines of a table."""
    return [f"caches in {caches.folder}", f"{'':<16} {'entries':>12} {'bytes':>12}", *caches.lines()]


def pruned(ready: Prepared) -> Iterator[str]:
    """Removes the shards that hold nothing of this run, and says what that was."""
    dataset = ready.dataset
    draws = 0 if dataset.draws is None else dataset.draws.count
    prompts = {row.prompt for row in dataset.rows} | {dataset.empty_prompt}
    used = {key for row in dataset.rows for key in row.all_images} | prompts
    used |= {tokens_key(key) for key in prompts} if dataset.tokens else set()
    used |= {dataset.drawn(index, draw).key for index in range(len(dataset)) for draw in range(draws)}
    ready.caches.refresh()
    for name, cache in ready.caches.named.items():
        unused = [shard for shard in cache.shards if used.isdisjoint(keys_of(shard))]
        for shard in unused:
            cache.drop(shard)
        if unused:
            yield f"removed {sum(map(len, unused)):,} {name} that this run does not read, {sized(sum(shard.size for shard in unused))}"


def keys_of(shard: Shard) -> Iterator[str]:
    """The keys of a shard's entries."""
    width = 2 * WIDTH
    return (keys[start : start + width] for keys in shard.groups for start in range(0, len(keys), width))
