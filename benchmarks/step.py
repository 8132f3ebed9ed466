"""Pairs per second, memory and share of the hardware's limit of a Diffusion-DPO step with LoRA, beside what people use.

    python benchmarks/step.py                                             a minute of one CPU core, on the embedded SDXL and SD3
    python benchmarks/step.py --size mid                                  denoisers of 195 and 74 million parameters, 256 pixels

On a GPU, from the top of a clone, true sizes at 1024 pixels with random weights made at run time; each ends within ten minutes on one of
80 GB or more, tells what it does, and leaves step_SIZE.json in the folder $OUT, row by row as sides are done:

    export PYTHONPATH=. OUT=${OUT:-.}
    python benchmarks/step.py --device cuda --size sdxl --out $OUT                              SDXL, 4 pairs a step
    python benchmarks/step.py --device cuda --size sdxl --gradient-checkpointing --compile --channels-last --out $OUT/sdxl_fast.json
    python benchmarks/step.py --device cuda --size sd3-medium --out $OUT                        SD3 medium
    python benchmarks/step.py --device cuda --size sdxl --batch-size 1 --out $OUT/sdxl_1.json   where 24 to 48 GB must do

The other sides are loops that do at every step what two public scripts do: diffusers' train_diffusion_dpo_sdxl.py, and flow_grpo's
train_sd3_dpo.py for SD3. Ours is a run as `mmalign train` makes it, with nothing cached, with latents and embeddings cached, and with the
reference's errors cached too. All train a LoRA of rank 16 in the same layers from the same weights and pairs with the same optimizer, fused
on a GPU, in bfloat16 at true sizes, with the attention that torch chooses; that losses and gradients are equal is asserted first, in
float32, and told at true sizes, for one pair. Pictures that are not cached are decoded in the step, as the script does without workers.
Each side is a process. On a CPU they take turns, so that what else the machine does meets all of them, and processor seconds are compared,
which a busy machine changes less. On a GPU, of which each would keep its memory, one ends before the next begins, and seconds by the clock
are compared, after steps that are not timed. Arithmetic is counted by torch, without compilation; the limit is the best of many products of
two large matrices. Memory is the peak of the process above what it had before anything was loaded, or torch's own in the steps on a GPU.
What filling the caches took is told. A side that fails is told, and the others go on.
"""

import argparse
import json
import multiprocessing
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

if __package__:
    from benchmarks import step_equal, step_inputs, step_sides
else:
    import step_equal
    import step_inputs
    import step_sides

SIDES = {
    "live": "mmalign, nothing cached",
    "encoded": "mmalign, latents and embeddings cached",
    "errors": "mmalign, reference errors cached too",
}
PEERS = {"sdxl": "the diffusers script's way", "sd3": "flow_grpo's way"}
SIZES = {"tiny": ("sdxl", "sd3"), "mid": ("sdxl", "sd3"), "sdxl": ("sdxl",), "sd3-medium": ("sd3",)}
"""The families that a size is of."""


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    reports: list[dict[str, Any]] = []
    for family in options.families or SIZES[options.size]:
        options.family = family
        folder = Path(tempfile.mkdtemp(dir=options.work))
        try:
            reports.append(measured(options, folder, lambda report: save([*reports, report], options)))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    print(text(reports))


def save(reports: Sequence[dict[str, Any]], options: argparse.Namespace) -> None:
    """Writes what is known so far, so that a run that is stopped leaves it."""
    if options.out:
        place = options.out / f"step_{options.size}.json" if options.out.is_dir() else options.out
        place.write_text(json.dumps(reports, indent=2) + "\n", encoding="utf-8")


def measured(options: argparse.Namespace, folder: Path, keep: Callable[[dict[str, Any]], None] = lambda report: None) -> dict[str, Any]:
    """All sides of a family. What is made first is made in a process of its own, which leaves no memory behind."""
    report = {"machine": machine(options.device), "options": shown(options), "family": options.family, "limit": None, "sides": {}}
    report["filling"] = _asked_once("inputs", step_inputs.serve, "make", options, folder)
    report["equal"] = _asked_once("equal", step_equal.serve, "compare", options, folder)
    keep(report)
    rows = one_by_one(options, folder) if options.one_by_one else in_turns(options, folder)
    kind = "processor" if options.device == "cpu" else "clock"
    for name, row in rows:
        if name == "products":
            report["limit"] = limit_of(row, kind)
            continue
        if "failed" not in row:
            row |= {"pairs_per_s": options.batch_size / row[kind], "share": row["gflop"] / row[kind] / report["limit"]}
        report["sides"][name] = row
        keep(report)
    return report


def in_turns(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The sides' rows, that of the limit first; all are there at once, and take turns."""
    sides = {name: _Side(name, step_sides.serve, options, folder) for name in ("products", "peer", *SIDES)}
    first = {name: side.ask("start") for name, side in sides.items()}
    turns = [{name: side.ask("turn") for name, side in sides.items()} for _ in range(options.turns)]
    for name, side in sides.items():
        yield name, summed(first[name], [turn[name] for turn in turns], side.ask("memory"))
        side.end()


def one_by_one(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The same, each side at an end before the next begins."""
    for name in ("products", "peer", *SIDES):
        side, started = _Side(name, step_sides.serve, options, folder), time.perf_counter()
        try:
            first = side.ask("start")
            row: dict[str, Any] = summed(first, [side.ask("turn") for _ in range(options.turns)], side.ask("memory"))
        except RuntimeError as error:
            if name == "products":
                raise
            row = {"failed": str(error)}
        side.end()
        print(f"{name}: {json.dumps(row)} in {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
        yield name, row


def limit_of(row: dict[str, float], kind: str) -> float:
    """What the hardware multiplies at most, GFLOP/s."""
    return row["gflop"] / row[f"least_{kind}"]


def summed(first: dict[str, float], turns: list[dict[str, list[float]]], memory: float) -> dict[str, float]:
    """A side's row: medians over all its steps, and the shortest."""
    steps = {kind: [value for turn in turns for value in turn[kind]] for kind in ("clock", "processor")}
    medians = {kind: statistics.median(values) for kind, values in steps.items()}
    least = {f"least_{kind}": min(values) for kind, values in steps.items()}
    return first | medians | least | {"memory_mib": memory, "steps": len(steps["clock"])}


class _Side:
    """A process that answers."""

    def __init__(self, name: str, serve: Any, options: argparse.Namespace, folder: Path):
        context = multiprocessing.get_context("fork" if options.device == "cpu" else "spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(name, theirs, options, folder), daemon=True)
        self.process.start()

    def ask(self, what: str) -> Any:
        self.pipe.send(what)
        answer = self.pipe.recv()
        if isinstance(answer, str):
            raise RuntimeError(answer)
        return answer

    def end(self) -> None:
        self.pipe.send("end")
        self.process.join(60)


def _asked_once(name: str, serve: Any, what: str, options: argparse.Namespace, folder: Path) -> Any:
    side = _Side(name, serve, options, folder)
    answer = side.ask(what)
    side.end()
    return answer


def text(reports: Sequence[dict[str, Any]]) -> str:
    """The reports as one table in Markdown."""
    busy = reports[0]["options"].startswith("--device cpu")
    lines = [
        f"{reports[0]['machine']}; {reports[0]['options']}",
        "",
        f"| family | side | pairs per {'processor second' if busy else 'second'} | times the first | GFLOP/step | share of the limit, % "
        "| peak MiB | of the first's |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [line for report in reports for line in _lines(report)]
    return "\n".join([*lines, "", *(_told(report) for report in reports)])


def _lines(report: dict[str, Any]) -> list[str]:
    family, first = report["family"], report["sides"]["peer"]
    names = {"peer": PEERS[family]} | SIDES
    return [f"| {family} | {names[name]} | {_cells(row, first)} |" for name, row in report["sides"].items()]


def _cells(row: dict[str, Any], first: dict[str, Any]) -> str:
    if "failed" in row:
        return f"failed: {row['failed']}"
    faster, less = ("-", "-") if "failed" in first else (f"{row[key] / first[key]:.2f}" for key in ("pairs_per_s", "memory_mib"))
    return f"{row['pairs_per_s']:.3g} | {faster} | {row['gflop']:.1f} | {100 * row['share']:.0f} | {row['memory_mib']:.0f} | {less}"


def _told(report: dict[str, Any]) -> str:
    equal, unit = report["equal"], "GFLOP/s"
    filled = ", ".join(f"{name} {value:.1f} s" for name, value in report["filling"].items())
    apart = f"loss {equal['loss']:.4f}, apart by {equal['loss apart']:.1e}, gradients by {equal['gradient apart']:.1e} of the largest"
    return f"{report['family']}: {apart}; limit {report['limit']:.0f} {unit}; {filled} to fill the caches"


def machine(device: str) -> str:
    """What it ran on."""
    name = platform.processor() or platform.machine()
    if device == "cuda":
        name = f"{torch.cuda.get_device_name()} of {torch.cuda.get_device_properties(0).total_memory / 2**30:.0f} GiB"
    return f"{datetime.now(UTC):%Y-%m-%d}, {name}, torch {torch.__version__}"


def shown(options: argparse.Namespace) -> str:
    """The options without places of this machine."""
    kept = ("device", "size", "pairs", "batch_size", "steps", "turns", "warmup", "draws", "threads")
    flags = [f"--{name.replace('_', '-')}" for name in step_inputs.FLAGS if getattr(options, name)]
    return " ".join([*(f"--{name.replace('_', '-')} {getattr(options, name)}" for name in kept), *flags])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where all sides run")
    add("--size", choices=SIZES, default="tiny", help="the embedded models, or ones of this size with random weights")
    add("--families", nargs="+", choices=PEERS, default=None, help="kinds of models; None = all that the size has")
    add("--pairs", type=int, default=16, help="pairs of pictures")
    add("--batch-size", type=int, default=4, help="pairs per step")
    add("--steps", type=int, default=2, help="steps of a side in a turn")
    add("--turns", type=int, default=4, help="turns of each side")
    add(
        "--warmup", type=int, default=None, help="steps that are not timed, after the first, which is counted; None = 3 on a GPU, else none"
    )
    add("--one-by-one", action="store_true", help="a side ends before the next begins, as always on a GPU")
    add("--draws", type=int, default=2, help="fixed draws of a row, where the reference's errors are cached")
    add("--threads", type=int, default=1, help="threads of torch")
    add("--gradient-checkpointing", action="store_true", help="recompute activations, on all sides")
    add("--compile", action="store_true", help="compile the repeated blocks, on our sides")
    add("--channels-last", action="store_true", help="let channels lie together in memory, on our sides")
    add("--work", type=Path, default=None, help="folder for what is made at run time; None = the system's")
    add("--out", type=Path, default=None, help="JSON file for all that was measured, or a folder for step_SIZE.json")
    options = parser.parse_args()
    on_gpu = options.device == "cuda"
    options.warmup = options.warmup if options.warmup is not None else 3 * on_gpu
    options.one_by_one = options.one_by_one or on_gpu
    return options


if __name__ == "__main__":
    main()
