"""The sides of `step.py`, each a process that is asked for turns of steps."""

import argparse
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

if __package__:
    from benchmarks import step_peers
    from benchmarks.step_inputs import configuration, true_size
else:
    import step_peers
    from step_inputs import configuration, true_size

from mmalign import data, pipelines
from mmalign.cli.quiet import quiet
from mmalign.data.cache import TensorCache
from mmalign.training import diffusion, encoder
from mmalign.training.dataset import EncodedExamples, collate
from mmalign.training.loop import train_step
from mmalign.training.opened import Held
from mmalign.training.run import batches, make_accelerator

Step = Callable[[], Any]


def serve(name: str, pipe: Any, options: argparse.Namespace, folder: Path) -> None:
    """Loads when asked to start, with one step that is counted and not timed; then gives turns."""
    quiet(pipelines=True)
    before = resident()
    try:
        assert pipe.recv() == "start"
        with WAYS[name](name, options, folder) as step:
            with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counted:
                step()
            warmed(step, options)
            pipe.send({"gflop": counted.get_total_flops() / 1e9})
            while (asked := pipe.recv()) != "end":
                pipe.send(turn(step, options) if asked == "turn" else memory(before, options.device))
    except Exception as error:  # noqa: BLE001, told by who asked
        pipe.send(f"{name}: {type(error).__name__}: {error}")


def warmed(step: Step, options: argparse.Namespace) -> None:
    """Takes the steps that are not timed, in which kernels are chosen and compiled; memory counts from here on."""
    for _ in range(options.warmup):
        step()
    if options.device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()


def turn(step: Step, options: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of each step, by the clock and of the processor."""
    found: dict[str, list[float]] = {"clock": [], "processor": []}
    for _ in range(options.steps):
        clock, processor = time.perf_counter(), time.process_time()
        step()
        if options.device == "cuda":
            torch.cuda.synchronize()
        found["clock"].append(time.perf_counter() - clock)
        found["processor"].append(time.process_time() - processor)
    return found


def resident() -> float:
    """The process's memory of now, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def memory(before: float, device: str) -> float:
    """The peak, MiB."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before


@contextmanager
def cached(name: str, options: argparse.Namespace, folder: Path) -> Iterator[Step]:
    """A run as `mmalign train` makes it, over full caches."""
    config = configuration(name, options, folder)
    with diffusion.building(config, make_accelerator(config.train, config.output_dir), config.output_dir) as parts:
        stream = batches(parts, 0)
        yield lambda: train_step(parts.run, stream)


@contextmanager
def live(name: str, options: argparse.Namespace, folder: Path) -> Iterator[Step]:
    """The same run, whose pictures and prompts are encoded at every step."""
    config = configuration(name, options, folder)
    config = config.model_copy(update={"data": config.data.model_copy(update={"cache_dir": None})})
    family = pipelines.configured(config.model)
    with diffusion.building(config, make_accelerator(config.train, config.output_dir), config.output_dir, pipe=family.pipe) as parts:
        for module in (family.pipe.vae, *family.text_encoders.values()):
            module.to(parts.run.accelerator.device)
        encoding = encoder.Encoder(Held(family), config.data, config.seed)
        examples, dataset = data.load("auto", folder / "pairs.parquet"), parts.dataset

        def encoded() -> Iterator[Any]:
            for items in parts.run.plan.from_step(0, config.train.max_train_steps):
                cache, rows = TensorCache(), [dataset.rows[index] for index, _ in items]
                cache.put(encoding.images([(row, examples[index]) for row, (index, _) in zip(rows, items, strict=True)]))
                encoding.fill_prompts(
                    cache, {row.prompt: examples[index].prompt for row, (index, _) in zip(rows, items, strict=True)}, False
                )
                now = EncodedExamples(rows, cache, dataset.empty_prompt, 0.0, config.seed)
                yield collate([now[place, position] for place, (_, position) in enumerate(items)])

        stream = encoded()
        yield lambda: train_step(parts.run, stream)


@contextmanager
def peers(name: str, options: argparse.Namespace, folder: Path) -> Iterator[Step]:
    """The other program's loop."""
    peer = step_peers.PEERS[options.family](options, folder)
    stream = peer.batches()
    yield lambda: peer.step(next(stream))


@contextmanager
def products(name: str, options: argparse.Namespace, folder: Path) -> Iterator[Step]:
    """Products of two square matrices in the number format of the forward, one on a CPU: what the hardware can do at most."""
    side, times = (8192, 20) if options.device == "cuda" else (1024, 1)
    dtype = torch.bfloat16 if true_size(options) else torch.float32
    left, right = (torch.randn(side, side, device=options.device, dtype=dtype) for _ in range(2))
    yield lambda: [torch.mm(left, right) for _ in range(times)]


WAYS = {"peer": peers, "live": live, "encoded": cached, "errors": cached, "products": products}
