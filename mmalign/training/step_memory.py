"""What a dry run says of memory: an estimate before its step, and what the step took."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import nn

from mmalign.diffusion.policy import DiffusionPolicy
from mmalign.training.live_bytes import LiveBytes
from mmalign.training.loop import Run
from mmalign.training.memory import GIB, estimate, size_of
from mmalign.training.order import generator
from mmalign.training.reference import FrozenCopy, NoReference

LARGE = 2**28
"""Bytes of weights from which on it is worth knowing, on a machine without a GPU, what a GPU would need."""


def first_of(batches: Iterator[Any]) -> tuple[Any, Iterator[Any]]:
    """The first of some batches, and all of them."""
    first = next(batches)
    return first, chain([first], batches)


def estimated(run: Run, batch: Any) -> str | None:
    """The estimate for a GPU, in words; None where there is nothing to estimate, or nobody who would want to know."""
    on_gpu = run.accelerator.device.type == "cuda"
    if not isinstance(run.policy, DiffusionPolicy) or not (on_gpu or _weights(run) >= LARGE):
        return None
    reference = getattr(run.trainable, "reference", None)
    if run.objective.needs_reference and isinstance(reference, NoReference):
        return None  # its errors are known, and the method asks for no forward that could be counted
    inputs = run.policy.prepare(batch.to(run.accelerator.device), [generator(run.plan.seed, "draw", p) for p in batch.positions])
    module = run.accelerator.unwrap_model(run.policy.module, keep_fp32_wrapper=True)
    others = _others(run) if on_gpu else 0
    try:
        found = estimate(run.policy.family, module, reference, run.objective, inputs, run.config, others=others, split=run.stepping.split)
    except Exception as error:  # noqa: BLE001 (torch's own kinds, and those of quantized layers)
        return f"cannot be estimated for this model: {str(error).strip().splitlines()[0] or type(error).__name__}"
    there = torch.cuda.get_device_properties(run.accelerator.device).total_memory if on_gpu else None
    return str(found) + ("" if there is None else f"; the GPU has {there / GIB:.1f} GiB")


@contextmanager
def watched(run: Run) -> Iterator[Callable[[], str]]:
    """Inside it, memory is watched; what it gives says afterwards what was taken at the peak.

    On a GPU that is what the allocator gave out. On the CPU it is counted tensor by tensor, in one process.
    """
    device = run.accelerator.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield lambda: f"; peak with activations {size_of(torch.cuda.max_memory_allocated(device))} (measured on this step)"
    elif run.accelerator.num_processes > 1:
        yield lambda: ""
    else:
        before = _weights(run)
        with LiveBytes() as counted:
            yield lambda: f"; peak with activations {size_of(before + counted.peak)} (counted on this step)"


def _others(run: Run) -> int:
    """Bytes of the text encoders and the VAE where they are on the GPU, as for drawing pictures, and are not trained."""
    trained, parts = set(run.policy.module.modules()), run.policy.family.pipe.components.values()
    modules = [part for part in parts if isinstance(part, nn.Module) and part not in trained]
    return sum(p.numel() * p.element_size() for module in modules for p in module.parameters() if p.device.type == "cuda")


def _weights(run: Run) -> int:
    """Bytes of the model and of the reference's copy, where there is one."""
    reference = getattr(run.trainable, "reference", None)
    modules = [run.policy.module, *([reference.module] if isinstance(reference, FrozenCopy) else [])]
    return sum(parameter.numel() * parameter.element_size() for module in modules for parameter in module.parameters())
