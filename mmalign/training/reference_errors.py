"""Which errors of the reference a run needs, whether they are all there, and filling them ahead."""

import torch
from accelerate import Accelerator
from tqdm.auto import tqdm

from mmalign.data.cache import TensorCache
from mmalign.diffusion.policy import DiffusionPolicy
from mmalign.training.dataset import EncodedExamples, collate
from mmalign.training.fixed_draws import CachedReference
from mmalign.training.loader import read_ahead
from mmalign.training.order import BatchPlan
from mmalign.training.prepared import Prepared


def draws_of_run(dataset: EncodedExamples, plan: BatchPlan, steps: int) -> int:
    """How many of a row's draws are met in so many steps; 0 where draws are not fixed."""
    epochs = -(-steps * plan.rows_per_step // len(dataset))
    return 0 if dataset.draws is None else min(dataset.draws.count, epochs)


def missing_errors(dataset: EncodedExamples, cache: TensorCache, draws: int, part: slice = slice(None)) -> list[tuple[int, int]]:
    """(row, draw) of the errors that a cache does not hold, for the first so many draws of the rows of a part."""
    wanted = {dataset.drawn(index, draw).key: (index, draw) for draw in range(draws) for index in range(len(dataset))[part]}
    return [wanted[key] for key in cache.missing(wanted)]


def fill_errors(prepared: Prepared, accelerator: Accelerator) -> int:
    """Computes all errors that are missing, this process those of its part of the rows, and returns how many it computed."""
    dataset, cache = prepared.dataset, prepared.caches.errors
    if dataset.draws is None:
        return 0
    part = slice(accelerator.process_index, None, accelerator.num_processes)
    todo = missing_errors(dataset, cache, dataset.draws.count, part)
    if todo:
        prepared.opened.settle(drawing=False)
        family = prepared.opened.family
        module = family.denoiser.eval()
        reference = CachedReference(cache, None, module)
        policy = DiffusionPolicy(family, module, reference, accelerator.autocast, prepared.objective.independent_noise)
        items = [[(index, draw * len(dataset))] for index, draw in todo]
        workers, pin = prepared.config.train.dataloader_num_workers, accelerator.device.type == "cuda"
        shown = tqdm(items, desc="reference errors", disable=not accelerator.is_main_process)
        for batch in read_ahead(dataset, shown, collate, workers, pin):
            with torch.no_grad(), policy.reference():
                policy.errors(policy.prepare(batch.to(accelerator.device), []))
        reference.flush()
    return len(todo)
