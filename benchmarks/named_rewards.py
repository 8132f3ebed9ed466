"""PPD's synthetic experiment on the embedded SDXL-type base: users are named rewards, told by one-hot vectors and mixed in drawing.

    python benchmarks/named_rewards.py --out runs/named                 three seeds; each has its own pictures, choices, training and noise
    python benchmarks/named_rewards.py --out runs/named --seeds 0

A seed that was stopped goes on, and a finished one is not run again. Settings are those of ``mmalign demo --task personal``, with twice
the steps and half the strength: at a strength of 4 a named reward overshoots, into backgrounds that are no color of the world's.
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from personal_ways import REWARDS, judge, taste, told

CHOICES = 120  # of each reward, at most
STEPS = 400
SCALE = 2.0


def main() -> None:
    options = _options()
    for seed in options.seeds:
        file = options.out / f"seed_{seed}" / "ways.json"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(_measured(file.parent, seed, options), indent=2) + "\n")
        print("\n".join(_lines(seed, json.loads(file.read_text()))))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the seeds")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of the pictures, the training and the evaluation")
    parser.add_argument("--prompts", type=int, default=64, help="prompts of the evaluation, of the split open_final")
    parser.add_argument("--split", default="open_final", help="the prompts' split")
    parser.add_argument("--scale", type=float, default=SCALE, help="of the conditioner where pictures are drawn, 1 as trained")
    return parser.parse_args()


def _measured(folder: Path, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    from mmalign import demo_personal as demo
    from mmalign import pipelines
    from mmalign.evaluation.personal.record import interpolation
    from mmalign.training.run import train

    demo.quiet()
    recipe, base = demo.Recipe(), pipelines.load("sdxl", demo.BASE)
    choices = folder / "choices.parquet"
    if not choices.exists():
        demo.write_choices(base, recipe, {choices: ({name: taste(name) for name in REWARDS}, CHOICES)}, seed)
    train(_config(folder, seed), pipe=base.pipe)
    found = _evaluated(base, folder, seed, options)
    over = [asdict(row) for row in found.comparisons if row.against in ("base", "others")]
    return {"comparisons": over, "ways": [interpolation(way) for way in found.interpolations]}


def _config(folder: Path, seed: int) -> Any:
    from mmalign import demo_personal as demo
    from mmalign.config import RunConfig, from_mapping

    sections = {name: dict(section) for name, section in demo.PERSONAL.items()}
    sections["users"] |= {"embeddings": "one_hot"}
    sections["train"] = {**demo.TRAIN, **sections["train"], "max_train_steps": STEPS}
    own = {"data": {"source": str(folder / "choices.parquet")}, "seed": seed, "output_dir": str(folder / "run")}
    return from_mapping(sections | own, RunConfig, "the benchmark")


def _evaluated(base: Any, folder: Path, seed: int, options: argparse.Namespace) -> Any:
    from mmalign import demo_personal as demo
    from mmalign.evaluation.personal.evaluate import evaluate
    from mmalign.evaluation.personal.people import Person
    from mmalign.evaluation.personal.plan import Options
    from mmalign.evaluation.personal.sides import Sides
    from mmalign.shapes.open_captions import open_prompts
    from mmalign.shapes.settings import CALL

    sides = Sides(base, folder / "run", scale=options.scale, **CALL)
    people = [Person(name, "seen", {1: name}) for name in REWARDS]
    plan = Options(shots=(1,), main_shots=1, interpolations=len(REWARDS) // 2, batch_size=demo.BATCH)
    try:
        prompts = open_prompts(options.split)[: options.prompts]
        return evaluate(sides.base, sides.personal, people, prompts, judge, seed=seed + 1, options=plan)
    finally:
        sides.close()


def _lines(seed: int, found: Mapping[str, Any]) -> Iterator[str]:
    for row in found["comparisons"]:
        rate = row["result"]
        yield f"seed {seed}, over {row['against']}: {100 * rate['win_rate']:.1f} ({100 * rate['low']:.1f} to {100 * rate['high']:.1f})"
    yield from told(seed, found["ways"])


if __name__ == "__main__":
    main()
