"""DPO on a vision-language model here beside TRL's DPOTrainer: one model, the same pairs, the same tokens, the same LoRA.

    python benchmarks/vlm.py --size tiny --turns 1 --out tiny.json                       half a minute
    python benchmarks/vlm.py --peer-path PEERS --out cpu.json                            70 million parameters, four minutes of a CPU core
    python benchmarks/vlm.py --peer-path PEERS --size 7b --device cuda --dtype bfloat16 --steps 20 --gradient-checkpointing --out gpu.json

Every side runs in processes of its own. The sides take turns, so that what else the machine does meets all of them, and the fastest
turn of each counts. PEERS is a folder that only TRL's process sees:

    pip install --no-deps --target PEERS trl==1.16.0

Nothing is downloaded: the model is of LLaVA's type with random weights, made at run time. At step 0 both sides get the same adapter, away
from its start, and what they make of the first batch is compared: tokens, loss, and the gradient of every tensor. Then both train by the
code that their users run. A last side has the reference's log-probabilities on the disk, as from the second epoch on.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

HERE = Path(__file__).resolve().parent
SIDES = {"trl": "TRL's DPOTrainer", "mmalign": "mmalign", "mmalign_cached": "mmalign, reference on disk"}
BEST = {"samples_per_s": max, "cpu_s_per_sample": min, "peak_mib": min, "above_rest_mib": min}
CLOSE = 1e-4
"""How far apart losses and gradients of the sides may lie in float32."""


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.work) as name:
        folder = Path(name)
        plan = _prepared(options, folder)
        turns = [{side: _measured(side, options, folder) for side in options.sides} for _ in range(options.turns)]
        found = {side: _best([turn[side] for turn in turns], plan["images"]) for side in options.sides}
        equal = {str(count): _compared(found, str(count), folder) for count in plan["images"]}
    report = {"machine": _machine(options.device), "options": _shown(options), "sides": found, "step_0": equal}
    report["inputs"] = {key: plan[key] for key in ("parameters", "tokens_per_image", "pictures")}
    for side in found.values():
        for count in equal:
            side.get(count, {}).pop("tokens", None)
    print(_text(report))
    if options.out:
        options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--size", choices=("tiny", "mid", "7b"), default="mid", help="0.3 million parameters, 70 million, or those of LLaVA-1.5-7B")
    add("--images", type=int, nargs="+", default=[1, 3, 5], help="images of a prompt")
    add("--batch-size", type=int, default=1, help="pairs of a step")
    add("--steps", type=int, default=3, help="optimizer steps; the first is not timed")
    add("--words", type=int, default=40, help="words of a prompt and of a chosen answer; a rejected one has a quarter more")
    add("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the weights, and of the forward")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where to train")
    add("--gradient-checkpointing", action="store_true", help="recompute activations on all sides")
    add("--threads", type=int, default=1, help="of torch, in every process")
    add("--turns", type=int, default=2, help="how often each side is started, after the others had their turn")
    add("--sides", nargs="+", choices=SIDES, default=list(SIDES), help="what to measure; a side whose package is missing says so")
    add("--peer-path", type=Path, help="folder of TRL, before all others on its process's path")
    add("--work", type=Path, help="folder for model and images while it runs; none = the system's for temporary files")
    add("--out", type=Path, help="JSON file to write")
    return parser.parse_args()


def _prepared(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """What every side reads, written by a process of its own, whose memory goes with it."""
    file = folder / "plan.json"
    file.write_text(json.dumps({**_shown(options), "folder": str(folder)}), encoding="utf-8")
    subprocess.run([sys.executable, str(HERE / "vlm_inputs.py"), str(file)], check=True, env=_environment(options), capture_output=True)
    return json.loads(file.read_text(encoding="utf-8"))


def _measured(side: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """What a side's process found, or {"error": its last line}."""
    command = [sys.executable, str(HERE / "vlm_sides.py"), side, str(folder / "plan.json")]
    print(f"{SIDES[side]} ...", file=sys.stderr, flush=True)
    done = subprocess.run(command, env=_environment(options, peer=side == "trl"), capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return {"error": lines[-1] if lines else f"exit status {done.returncode}"}
    return json.loads(done.stdout.strip().splitlines()[-1])


def _best(turns: list[dict[str, Any]], counts: list[int]) -> dict[str, Any]:
    """Of several turns the best numbers; what made the others worse is not the program."""
    if failed := next((turn for turn in turns if "error" in turn), None):
        return failed
    found = dict(turns[-1])
    for count in map(str, counts):
        best = {name: choose(turn[count][name] for turn in turns) for name, choose in BEST.items()}
        found[count] = turns[-1][count] | best | {"turns": [turn[count]["samples_per_s"] for turn in turns]}
    return found


def _compared(found: Mapping[str, Any], count: str, folder: Path) -> dict[str, Any]:
    """How far TRL's first batch lies from ours; empty where one of them is missing."""
    ours, theirs = (found.get(side, {}).get(count) for side in ("mmalign", "trl"))
    if ours is None or theirs is None:
        return {}
    mine, its = (load_file(folder / f"{side}_{count}.safetensors") for side in ("mmalign", "trl"))
    return {
        "tokens_equal": ours["tokens"] == theirs["tokens"] and mine.keys() == its.keys(),
        "loss": abs(ours["loss"] - theirs["loss"]),
        "gradient": max((mine[name].float() - its[name].float()).abs().max().item() for name in its),
        "largest_gradient": max(tensor.float().abs().max().item() for tensor in its.values()),
    }


def _environment(options: argparse.Namespace, peer: bool = False) -> dict[str, str]:
    path = [str(options.peer_path.resolve())] if peer and options.peer_path else []
    path += [] if peer else [str(HERE.parent)]
    inherited = os.environ.get("PYTHONPATH")
    changes = {"PYTHONPATH": os.pathsep.join(path + ([inherited] if inherited else [])), "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    changes |= {name: str(options.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    if options.device == "cpu":
        changes["CUDA_VISIBLE_DEVICES"] = ""
    return {**os.environ, **changes}


def _machine(device: str) -> dict[str, Any]:
    names = Path("/proc/cpuinfo")
    lines = names.read_text(encoding="utf-8").splitlines() if names.is_file() else []
    found = {"cpu": next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())}
    if device == "cuda":
        import torch

        found["gpu"] = torch.cuda.get_device_name()
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    return found | {"cores": os.cpu_count() or 0, "load": round(os.getloadavg()[0], 1), "python": platform.python_version(), "date": when}


def _shown(options: argparse.Namespace) -> dict[str, Any]:
    """The options, without places on this machine."""
    return {key: value for key, value in vars(options).items() if key not in ("peer_path", "work", "out")}


def _text(report: Mapping[str, Any]) -> str:
    sides, options, machine = report["sides"], report["options"], report["machine"]
    rows = [
        (
            "images",
            "side",
            "samples/s",
            "times TRL's",
            "CPU s/sample",
            "times less",
            "peak MiB",
            "above rest",
            "loss apart",
            "gradient apart",
        )
    ]
    rows += [_row(sides, side, str(count), report["step_0"][str(count)]) for count in options["images"] for side in sides]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    versions = {name: told for side in sides.values() for name, told in side.get("versions", {}).items()}
    packages = ", ".join(f"{name} {told}" for name, told in versions.items())
    return "\n".join(
        [
            *lines,
            "",
            "above rest: peak over what the process held before training, MiB; apart: from TRL at step 0, the same tokens unless told",
            f"{machine.get('gpu', machine['cpu'])}, {options['threads']} of {machine['cores']} cores, load {machine['load']}",
            f"{report['inputs']['parameters'] / 1e6:.1f} million parameters, {report['inputs']['tokens_per_image']} tokens an image, "
            f"{options['batch_size']} pairs a step, {options['dtype']}; {machine['date']}; {packages}",
        ]
    )


def _row(sides: Mapping[str, Any], side: str, count: str, equal: Mapping[str, Any]) -> tuple[str, ...]:
    mine, its = sides[side].get(count), sides.get("trl", {}).get(count)
    if mine is None:
        return (count, SIDES[side], *["-"] * 7, sides[side]["error"])
    times = ("-", "-")
    if its is not None:
        times = (f"{mine['samples_per_s'] / its['samples_per_s']:.2f}", f"{its['cpu_s_per_sample'] / mine['cpu_s_per_sample']:.2f}")
    apart = ("-", "-")
    if equal and side == "mmalign":
        apart = (f"{equal['loss']:.1e}", f"{equal['gradient']:.1e}") if equal["tokens_equal"] else ("other tokens", "-")
    rate, busy = f"{mine['samples_per_s']:.3g}", f"{mine['cpu_s_per_sample']:.3g}"
    return (count, SIDES[side], rate, times[0], busy, times[1], f"{mine['peak_mib']:.0f}", f"{mine['above_rest_mib']:.0f}", *apart)


if __name__ == "__main__":
    main()
