"""What is said of a run's caches before the first step: what it reads from them, and the bytes that takes."""

from collections.abc import Iterator

from mmalign.data.cache import Entry
from mmalign.data.cache_folder import sized
from mmalign.training.prepared import Prepared


def told(ready: Prepared, draws: int) -> str:
    """How many images, prompts and reference errors a run reads, and the bytes of each; for a dry run, those of all rows, estimated.

    Args:
        draws: of a row, those that the run meets.
    """
    return "; ".join(_sizes(ready, draws)) + f"; {_place(ready)}"


def _sizes(ready: Prepared, draws: int) -> Iterator[str]:
    dataset, caches = ready.dataset, ready.caches
    images = {key for row in dataset.rows for key in row.all_images}
    prompts = {row.prompt for row in dataset.rows} | {dataset.empty_prompt}
    share, about = ready.total / max(1, len(dataset)), "about " if ready.total != len(dataset) else ""
    for name, cache, keys in (("images", caches.images, images), ("prompts", caches.prompts, prompts)):
        each = _bytes(cache.get(next(iter(keys)))) if keys else 0
        count = round(len(keys) * share)
        yield f"{about}{count:,} {name}, {sized(count * each)}"
    if draws:
        count = ready.total * draws
        yield f"{count:,} reference errors, {sized(4 * count * max(len(row.images) for row in dataset.rows))}"


def _bytes(entry: Entry) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in entry.values())


def _place(ready: Prepared) -> str:
    folder = ready.caches.folder
    if folder is None:
        return "in memory"
    there = sum(shard.size for cache in ready.caches.named.values() for shard in cache.shards)
    return f"{folder} holds {sized(there)}"


def told_reference(ready: Prepared, draws: int, missing: int) -> str:
    """What is said of a reference whose errors are kept; empty for another."""
    if ready.dataset.draws is None:
        unused = ready.config.data.reference_draws and not ready.objective.needs_reference
        return "none: the method needs none, so that data.reference_draws has no effect" if unused else ""
    held = "none is kept on the device" if ready.config.adapter.name == "full" else "no forward of it is needed"
    state = f"{missing:,} of them still to compute" if missing else f"all there, {held}"
    return f"its errors on {ready.dataset.draws.count} fixed draws of a row, of which this run meets {draws}; {state}"
