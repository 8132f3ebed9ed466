"""Where the time and the memory of a training step go: some steps with a clock at every boundary, beside the same steps without."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from mmalign.files import write_whole
from mmalign.training.loop import Run, train_step
from mmalign.training.profile_clock import Stopwatch
from mmalign.training.profile_table import Profile, table

DATA, PREPARE, REFERENCE, POLICY = "data wait", "prepare", "reference forward", "policy forward"
BACKWARD, OPTIMIZER, LOGGING, OTHER = "backward", "optimizer", "logging", "other"
PHASES = (DATA, PREPARE, POLICY, REFERENCE, BACKWARD, OPTIMIZER, LOGGING, OTHER)

WARM, STEPS, TRACED = 2, 5, 2
IN_ALL = WARM + 2 * STEPS + TRACED
"""Steps that are not timed, since allocators and compilers are still at work; steps that are, each way; steps of a trace."""


def profile(run: Run, batches: Iterator[Any], say: Callable[[str], None], trace: Path | None = None) -> None:
    """Takes steps of a run and tells where their time and memory went; the run is not to be kept.

    Args:
        run: as it would train.
        batches: this process's micro-batches.
        say: takes the table.
        trace: file for a trace in Chrome's format, of a few steps more; None = none.

    Raises:
        UserError: the trace cannot be written.
    """
    for _ in range(WARM - 1):
        step(run, batches)
    with FlopCounterMode(display=False) as counted:
        step(run, batches)
    device = run.accelerator.device
    seconds, issued = undisturbed(run, batches)
    watch = Stopwatch(device)
    with watched(run, watch) as clocked:
        for _ in range(STEPS):
            with watch.phase(OTHER):
                step(run, clocked(batches))
    if trace is not None:
        write_trace(run, batches, trace)
    phases = {name: watch.seconds.get(name, 0.0) / STEPS for name in PHASES}
    parts = {"flop": counted.get_total_flops(), "limit": products_per_second(device, run.accelerator.mixed_precision)}
    say(table(Profile(phases, watch.peaks, seconds, issued, run.plan.rows_per_step, device.type, **parts)))


def step(run: Run, batches: Iterator[Any]) -> None:
    """One step as the loop takes it, with its numbers handed on."""
    metrics, origins = train_step(run, batches)
    run.step += 1
    run.monitor.push(run.step, metrics, origins)


def undisturbed(run: Run, batches: Iterator[Any]) -> tuple[float, float]:
    """Seconds of a step without any clock inside, and how long Python took to ask for it, which on a GPU is sooner done."""
    run.monitor.flush()
    settle(run.accelerator.device)
    start = time.perf_counter()
    for _ in range(STEPS):
        step(run, batches)
    asked = time.perf_counter()
    settle(run.accelerator.device)
    return (time.perf_counter() - start) / STEPS, (asked - start) / STEPS


def settle(device: torch.device) -> None:
    """Waits for the device, where it works on its own."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


@contextmanager
def watched(run: Run, watch: Stopwatch) -> Iterator[Callable[[Iterator[Any]], Iterator[Any]]]:
    """Inside it, what the parts of a run do is clocked; gives what clocks a stream of batches. Afterwards nothing of it is left."""
    calls = {
        PREPARE: [(run.policy, "prepare")],
        BACKWARD: [(run.stepping, "backward")],
        OPTIMIZER: [(run.stepping, "step"), (run.ema, "step")],
        LOGGING: [(run.monitor, "push")],
    }
    with ExitStack() as changes:
        for phase, places in calls.items():
            for owner, name in places:
                if owner is not None:
                    changes.enter_context(replaced(owner, name, partial(_clocked, watch, phase, getattr(owner, name))))
        if hasattr(run.policy, "reference"):
            changes.enter_context(replaced(run.policy, "reference", partial(_within, watch, run.policy.reference)))
        changes.enter_context(replaced(run, "objective", _Clocked(run.objective, watch)))
        yield partial(_stream, watch)


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Inside it, an object has another attribute of this name, which its class may have too."""
    own, before = name in vars(owner), getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)


def _clocked(watch: Stopwatch, phase: str, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    with watch.phase(phase):
        return call(*arguments, **named)


@contextmanager
def _within(watch: Stopwatch, reference: Callable[[], Any]) -> Iterator[None]:
    with watch.phase(REFERENCE), reference():
        yield


def _stream(watch: Stopwatch, batches: Iterator[Any]) -> Iterator[Any]:
    while True:
        with watch.phase(DATA):
            batch = next(batches)
        yield batch


class _Clocked:
    """An objective whose time, outside its reference, is the policy's forward."""

    def __init__(self, objective: Any, watch: Stopwatch):
        self._objective, self._watch = objective, watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objective, name)

    def __call__(self, *arguments: Any) -> Any:
        with self._watch.phase(POLICY):
            return self._objective(*arguments)


def products_per_second(device: torch.device, precision: str) -> float:
    """What the device multiplies at most in the number format of the forward, FLOP/s: the best of some products of large matrices."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    side = 512 if device.type == "cpu" else 8192
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(6):
        settle(device)
        start = time.perf_counter()
        torch.mm(left, right)
        settle(device)
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best


def write_trace(run: Run, batches: Iterator[Any], path: Path) -> None:
    """Writes what the processor and the device did in some steps, for chrome://tracing or ui.perfetto.dev."""
    with torch.profiler.profile() as found:
        for _ in range(TRACED):
            step(run, batches)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        found.export_chrome_trace(str(file))
        write_whole(path, file.read_bytes())
