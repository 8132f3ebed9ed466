"""Seconds per step and memory of SDXL-type Diffusion-DPO: without caches, with them, and the way of the diffusers script.

    python benchmarks/cache.py                                                a minute of one CPU core, on the embedded SDXL
    python benchmarks/cache.py --device cuda --size sdxl --out cuda.json      SDXL's true size, random weights made at run time

Four sides train the same LoRA (rank 16, attention) with the same optimizer on the same pairs: mmalign that encodes both pictures and the
prompt at every step; over cached latents and embeddings; over the reference's cached errors too; and a loop that does at every step what
examples/research_projects/diffusion_dpo/train_diffusion_dpo_sdxl.py of diffusers does. Each is a process, and they take turns, so that
what else the machine does meets all of them. Processor seconds are told beside those of the clock, since a busy machine changes them
less; a step's arithmetic is counted by torch. Memory is the peak of the process above what it had before anything was loaded, or torch's
own peak on a GPU. Caches are filled before the first turn, and what that took is told.
"""

import argparse
import json
import multiprocessing
import platform
import shutil
import statistics
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

if __package__:
    from benchmarks import cache_inputs, cache_sides
else:
    import cache_inputs
    import cache_sides

SIDES = {
    "diffusers": "the diffusers script's way",
    "live": "mmalign, nothing cached",
    "encoded": "mmalign, latents and embeddings cached",
    "errors": "mmalign, reference errors cached too",
}


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    folder = Path(tempfile.mkdtemp(dir=options.work))
    try:
        report = measured(options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(text(report))
    if options.out:
        options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def measured(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All sides in turn. What is made first is made in a process of its own, which leaves no memory behind."""
    made = _Side("inputs", cache_inputs.serve, options, folder)
    filled = made.ask("make")
    made.end()
    sides = {name: _Side(name, cache_sides.serve, options, folder) for name in SIDES}
    first = {name: side.ask("start") for name, side in sides.items()}
    turns = [{name: side.ask("turn") for name, side in sides.items()} for _ in range(options.turns)]
    rows = {name: summed(first[name], [turn[name] for turn in turns], sides[name].ask("memory")) for name in SIDES}
    for side in sides.values():
        side.end()
    return {"machine": machine(options.device), "options": shown(options), "filling": filled, "sides": rows}


def summed(first: dict[str, float], turns: list[dict[str, list[float]]], memory: float) -> dict[str, float]:
    """A side's row: medians over all its steps."""
    steps = {kind: [value for turn in turns for value in turn[kind]] for kind in ("clock", "processor")}
    return (
        first | {kind: statistics.median(values) for kind, values in steps.items()} | {"memory_mib": memory, "steps": len(steps["clock"])}
    )


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


def text(report: dict[str, Any]) -> str:
    """The report as a table in Markdown."""
    reference = report["sides"]["diffusers"]
    lines = [
        f"{report['machine']}; {report['options']}",
        "",
        "| side | s/step | processor s/step | faster than the diffusers way by | GFLOP/step | peak MiB |",
        "|---|---|---|---|---|---|",
    ]
    kind = "processor" if report["options"].startswith("--device cpu") else "clock"
    for name, row in report["sides"].items():
        gain = reference[kind] / row[kind]
        numbers = f"{row['clock']:.3f} | {row['processor']:.3f} | {gain:.2f} | {row['gflop']:.1f} | {row['memory_mib']:.0f}"
        lines.append(f"| {SIDES[name]} | {numbers} |")
    filled = report["filling"]
    lines += ["", ", ".join(f"{name} {value:.1f} s" for name, value in filled.items()) + " of processor time to fill the caches"]
    return "\n".join(lines)


def machine(device: str) -> str:
    """What it ran on."""
    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    return f"{datetime.now(UTC):%Y-%m-%d}, {name}, torch {torch.__version__}"


def shown(options: argparse.Namespace) -> str:
    """The options without places of this machine."""
    kept = ("device", "size", "pairs", "batch_size", "steps", "turns", "draws", "threads")
    return " ".join(f"--{name.replace('_', '-')} {getattr(options, name)}" for name in kept)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where all sides run")
    add("--size", choices=("tiny", "sdxl"), default="tiny", help="the embedded SDXL, or one of the true size with random weights")
    add("--pairs", type=int, default=16, help="pairs of pictures")
    add("--batch-size", type=int, default=4, help="pairs per step")
    add("--steps", type=int, default=2, help="steps of a side in a turn")
    add("--turns", type=int, default=4, help="turns of each side")
    add("--draws", type=int, default=2, help="fixed draws of a row, where the reference's errors are cached")
    add("--threads", type=int, default=1, help="threads of torch")
    add("--work", type=Path, default=None, help="folder for what is made at run time; None = the system's")
    add("--out", type=Path, default=None, help="JSON file for all that was measured")
    return parser.parse_args()


if __name__ == "__main__":
    main()
