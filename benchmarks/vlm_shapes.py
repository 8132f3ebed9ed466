"""MIA-DPO and RRPO on the embedded vision-language model, beside plain DPO: the same questions, the same steps, one table.

    python benchmarks/vlm_shapes.py --out runs/vlm_shapes                         all of it: three seeds, some forty minutes on one core
    python benchmarks/vlm_shapes.py --out runs/vlm_shapes --methods mia_dpo --seeds 0
    python benchmarks/vlm_shapes.py --out runs/vlm_shapes --table                 the table of the cells that are there

A cell is a method and a seed; a finished one is a JSON file in the folder and is not run again. A seed decides what is asked to make
preferences, the adapter's first weights and the order of rows; all cells answer the same questions. Settings were chosen with
``--split tuning``.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from vlm_shapes_data import clip_preferences, mia_preferences, one_preferences
from vlm_shapes_drift import Drift
from vlm_shapes_table import cells_in, table

from mmalign import pipelines
from mmalign.config import ResponseRunConfig, VlmConfig, from_mapping
from mmalign.evaluation.answers.questions import AskedQuestion, load_questions
from mmalign.evaluation.answers.sides import AlignedVlm, answer_all
from mmalign.files import write_whole
from mmalign.shapes.exam import exam
from mmalign.training.run import train
from mmalign.vlm.family import VlmFamily

MODEL = "shapes/vlm"
MOST_TOKENS = 24
CHECKPOINTS = 15


@dataclass(frozen=True)
class Setting:
    """How a method is run.

    Attributes:
        data: which preferences.
        method: the objective.
        asked: sets of questions it is measured on.
        drift: measure margin and divergence on held-out preferences during the run.
    """

    data: str
    method: Mapping[str, Any]
    asked: tuple[str, ...]
    steps: int
    rate: float = 1e-3
    drift: bool = False


SETTINGS: Mapping[str, Setting] = {
    # DPO with the chosen answer's likelihood, gamma 1: the default of MIA-DPO's released code
    "dpo_one": Setting("one", {"name": "rpo", "beta": 0.1, "nll_weight": 1.0}, ("one", "named"), steps=90),
    "mia_dpo": Setting("mia", {"name": "rpo", "beta": 0.1, "nll_weight": 1.0}, ("one", "named"), steps=90),
    "dpo": Setting("clips", {"name": "dpo", "beta": 0.1}, ("clips",), steps=90, drift=True),
    # released for LongVU; at 0.01, the value for LLaVA-Video, the divergence was three times as large on ``tuning``
    "rrpo": Setting("clips", {"name": "rrpo", "beta": 0.1, "alpha": 0.05}, ("clips",), steps=90, drift=True),
}
DATA = {"one": one_preferences, "mia": mia_preferences, "clips": clip_preferences}
SIZES = {"one": 280, "named": 420, "clips": 640}
"""Questions that are answered; of those about clips the descriptions are a quarter."""


@dataclass
class Cell:
    """A method's outcome: for each question whether it was right, what it claimed and what of that was false."""

    method: str
    seed: int
    split: str
    setting: dict[str, Any]
    sets: dict[str, list[str]] = field(default_factory=dict)
    right: dict[str, list[int]] = field(default_factory=dict)
    claims: list[tuple[int, int]] = field(default_factory=list)
    rows: int = 0
    drift: list[dict[str, float]] = field(default_factory=list)


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    if not options.table:
        _run(options)
    print(table(cells_in(options.out, options.split)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder of the cells")
    add("--methods", nargs="+", choices=["base", *SETTINGS], default=["base", *SETTINGS], help="what is run")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], help="seeds of preferences, adapter and order")
    add("--split", choices=["tuning", "final"], default="final", help="captions of the questions that are answered")
    add("--set", type=json.loads, default={}, help="fields of the settings, as JSON, to try others")
    add("--table", action="store_true", help="the table alone")
    return parser.parse_args()


def _run(options: argparse.Namespace) -> None:
    family = pipelines.configured_vlm(VlmConfig(pretrained=MODEL))
    for seed in options.seeds:
        for method in options.methods:
            place = options.out / f"{options.split}-{method}-{0 if method == 'base' else seed}.json"
            if not place.exists():
                cell = base_cell(family, options.split) if method == "base" else cell_of(family, method, seed, options)
                write_whole(place, json.dumps(cell.__dict__).encode())


def base_cell(family: VlmFamily, split: str) -> Cell:
    """The model as it is."""
    cell = Cell("base", 0, split, {})
    answer(family, tuple(SIZES), cell)
    return cell


def cell_of(family: VlmFamily, method: str, seed: int, options: argparse.Namespace) -> Cell:
    """Makes preferences, trains, and measures."""
    setting = Setting(**{**SETTINGS[method].__dict__, **options.set})
    examples, out = DATA[setting.data](family, seed), options.out / "runs" / f"{options.split}-{method}-{seed}"
    cell = Cell(method, seed, options.split, {**setting.__dict__, "method": dict(setting.method)}, rows=len(examples))
    train(configuration(setting, out, seed), examples=examples, family=family)
    if setting.drift:
        held_out = Drift(family, clip_preferences(family, 1000, options.split, 240))
        steps = [*range(CHECKPOINTS, setting.steps, CHECKPOINTS), setting.steps]
        places = {step: out if step == setting.steps else out / f"checkpoint-{step}" for step in steps}
        cell.drift = [{"step": 0, "margin": 0.0, "kl": 0.0}, *({"step": step, **held_out(place)} for step, place in places.items())]
    sides = AlignedVlm(family, out)
    with sides.aligned() as aligned:
        answer(aligned, setting.asked, cell)
    sides.close()
    return cell


def configuration(setting: Setting, out: Path, seed: int) -> ResponseRunConfig:
    """The training run, as a user would write it."""
    values = {
        "vlm": {"pretrained": MODEL},
        "adapter": {"name": "lora", "rank": 16},
        "data": {"source": "the preferences in memory"},
        "method": dict(setting.method),
        "train": {
            "max_train_steps": setting.steps,
            "train_batch_size": 16,
            "learning_rate": setting.rate,
            "lr_scheduler": "cosine",
            "lr_warmup_steps": 8,
            "adam_weight_decay": 0.0,
            "checkpointing_steps": CHECKPOINTS,
            "report_to": "none",
        },
        "output_dir": str(out),
        "seed": seed,
    }
    return from_mapping(values, ResponseRunConfig, "the benchmark")


def answer(family: VlmFamily, sets: Sequence[str], cell: Cell) -> None:
    """Asks a model, and marks its answers."""
    for name in sets:
        asked = load_questions(exam(f"shapes/{cell.split}", {name: SIZES[name]}, seed=1))
        said = [answer.text for answer in answer_all(family, asked, MOST_TOKENS, 32)]
        cell.right[name] = [int(one.is_right(text)) for one, text in zip(asked, said, strict=True)]
        cell.sets[name] = [_group(one) for one in asked]
        if name == "clips":
            cell.claims = [one.claims(text) for one, text in zip(asked, said, strict=True) if one.absent]


def _group(asked: AskedQuestion) -> str:
    return asked.groups["type"] if asked.groups["set"] == "clips" else asked.groups["pictures"]


if __name__ == "__main__":
    main()
