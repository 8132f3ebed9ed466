"""The whole job on the embedded world: pairs from the base's own pictures, alignment, evaluation, report.

What runs is what runs for SDXL: the same samplers, readers, loop and report. Only the settings below belong to the demo; they were
chosen on the prompts of the split ``tuning``, and the report is on those of ``final``, which nothing else has seen.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmalign import objectives, pipelines, rewards
from mmalign.candidates import Label
from mmalign.config import RunConfig, TrainingConfig, from_mapping, load_config, save_resolved
from mmalign.data.write import write_pickapic
from mmalign.diffusion.aligned import Aligned
from mmalign.diffusion.family import DiffusionFamily
from mmalign.errors import UserError
from mmalign.evaluation.evaluate import evaluate
from mmalign.evaluation.plan import Options
from mmalign.evaluation.report import write_report
from mmalign.evaluation.result import Evaluation
from mmalign.evaluation.run import best_possible, told
from mmalign.pairs import sample_pairs
from mmalign.plugins import nearest
from mmalign.reward import Reward
from mmalign.shapes.captions import prompts
from mmalign.shapes.settings import CALL, setting
from mmalign.training.log import METRICS_FILE
from mmalign.training.run import CONFIG_FILE, train

USER = "poster"


@dataclass(frozen=True)
class Goal:
    """What the labels follow.

    Attributes:
        labels: weight in the label, by reward; the first reward is what the demo aligns to.
        never_worse: rewards under which a preferred picture must not be the worse one.
        min_gap: pairs whose label scores differ by this or less are left out.
    """

    labels: Mapping[str, float]
    never_worse: frozenset[str] = frozenset()
    min_gap: float = 0.0


GOALS = {
    # the user's taste; a picture is never preferred for its style if it shows less of its caption
    "taste": Goal({"taste": 1.0, "oracle": 0.3}, never_worse=frozenset({"oracle"}), min_gap=0.02),
    "oracle": Goal({"oracle": 1.0}),
}


@dataclass(frozen=True)
class Recipe:
    """How the demo aligns one embedded base.

    Attributes:
        call: how pictures are drawn.
        train, adapter: sections of the training configuration; the method's fields and rate are those of ``shapes/settings.py``.
        per_prompt: candidates drawn per prompt.
        pair_prompts, final_prompts: how many prompts of the splits ``pairs`` and ``final`` are used.
    """

    call: Mapping[str, float] = field(default_factory=lambda: CALL)
    train: Mapping[str, Any] = field(default_factory=dict)
    adapter: Mapping[str, Any] = field(default_factory=dict)
    per_prompt: int = 4
    pair_prompts: int = 240
    final_prompts: int = 240


TRAIN = {"checkpoints_total_limit": 1, "checkpointing_steps": 25, "resume_from_checkpoint": "latest", "logging_steps": 5}
TARGETS = ["to_k", "to_q", "to_v", "to_out.0", "conv1", "conv2", "ff.net.0.proj", "ff.net.2"]
LORA = {"name": "lora", "rank": 16, "targets": TARGETS}
PICTURES = 32  # of an optimizer step, whatever the method compares
STEPS = {"max_train_steps": 150, "lr_scheduler": "constant_with_warmup", "lr_warmup_steps": 10}
RECIPES = {
    "taste": {
        "sdxl": Recipe(train=STEPS, adapter=LORA),
        "sd3": Recipe(train=STEPS),
        "sd": Recipe(train={**STEPS, "max_train_steps": 100}, adapter=LORA),
    },
    "oracle": {
        "sdxl": Recipe(train={**STEPS, "max_train_steps": 80}, adapter=LORA),
        "sd3": Recipe(train={**STEPS, "max_train_steps": 80}),
    },
}


def run(out: Path, family: str = "sdxl", method: str = "diffusion_dpo", seed: int = 0, aligned_to: str = "taste") -> Evaluation:
    """Runs the demo, writes everything below ``out`` and prints the table and where to look. A demo that was stopped goes on.

    Raises:
        UserError: unknown family, method or goal, or ``out`` holds a finished demo or one with other options.
    """
    recipe, seconds = find_recipe(aligned_to, family), {}
    quiet()
    config = run_config(recipe, out, family, method, seed, aligned_to)
    base = pipelines.load(family, f"shapes/{family}")
    claim(out, config)

    pairs = Path(config.data.source)
    if not pairs.exists():
        with timed(seconds, "pairs"):
            draw_pairs(base, recipe, GOALS[aligned_to], pairs, seed)
    with timed(seconds, "training"):
        train(config, pipe=base.pipe)
    result = judge(base, recipe, GOALS[aligned_to], out / "aligned", seed)
    result.seconds.update(seconds | {"total": sum(seconds.values()) + result.seconds["evaluation"]})
    command = f"mmalign demo --out {out.name} --family {family} --method {method} --aligned-to {aligned_to} --seed {seed}"
    trained = load_config(out / "aligned" / CONFIG_FILE).model_dump(mode="json")  # with the defaults of the family filled in
    page = write_report(result, out, config=trained, command=command, metrics=out / "aligned" / METRICS_FILE)
    print(f"\n{told(result)}\n\nlook at       {page}\nside by side  {out / 'side_by_side.png'}\nthe adapter   {out / 'aligned'}")
    return result


def find_recipe(aligned_to: str, family: str) -> Recipe:
    """The settings for a goal and a family. Raises UserError where there are none."""
    for kind, word, known in (("goal", aligned_to, RECIPES), ("family", family, RECIPES.get(aligned_to, {}))):
        if word not in known:
            raise UserError(f"the demo aligned to {aligned_to} has no {kind} {word!r}; {nearest(word, list(known))}")
    return RECIPES[aligned_to][family]


def claim(out: Path, config: TrainingConfig) -> None:
    """Makes the folder this demo's, unless it is another's. Raises UserError where it is, or where it holds a finished demo."""
    if (out / "report.json").exists():
        raise UserError(f"{out} holds a finished demo, look at {out / 'report.html'}; remove the folder or choose another with --out")
    mark = out / "demo.yaml"
    if not mark.exists():
        save_resolved(config, mark)
    elif load_config(mark, kind=type(config)) != config:
        raise UserError(f"{out} holds an unfinished demo with other options; remove the folder or choose another with --out")


def run_config(recipe: Recipe, out: Path, family: str, method: str, seed: int, aligned_to: str = "taste") -> RunConfig:
    """The training configuration of the demo, as a user would write it."""
    tuned = setting(family, method)
    named = {"name": tuned.method or method} | dict(tuned.fields)
    takes = objectives.load(**named).takes
    set_by_method = {"learning_rate": tuned.learning_rate, "train_batch_size": PICTURES // (2 if takes == "rows" else 1)}
    values = {
        "model": {"family": family, "pretrained": f"shapes/{family}"},
        "adapter": dict(recipe.adapter),
        "data": {"source": str(out / f"pairs_{aligned_to}.parquet")},
        "method": named,
        "train": dict(TRAIN) | dict(recipe.train) | set_by_method,
        "online": None if tuned.online is None else dict(tuned.online),
        "validation": {"prompts": prompts("tuning")[:8], "steps": 50} | dict(recipe.call),
        "output_dir": str(out / "aligned"),
        "seed": seed,
    }
    return from_mapping(values, RunConfig, "the demo")


def scorers() -> dict[str, Reward]:
    """What the pictures are judged by."""
    return {"taste": rewards.load("taste", user=USER), "oracle": rewards.load("oracle"), "colorfulness": rewards.load("colorfulness")}


def draw_pairs(base: DiffusionFamily, recipe: Recipe, goal: Goal, path: Path, seed: int) -> None:
    """The base's own pictures, labelled as the goal says."""
    known = scorers()
    labels = {name: Label(known[name], weight, name in goal.never_worse) for name, weight in goal.labels.items()}

    def sampler(texts, seeds):
        return base.sample(texts, seeds, batch_size=len(texts), **recipe.call)

    chosen = prompts("pairs")[: recipe.pair_prompts]
    write_pickapic(sample_pairs(sampler, chosen, labels, per_prompt=recipe.per_prompt, seed=seed, min_gap=goal.min_gap), path, seed=seed)


def judge(base: DiffusionFamily, recipe: Recipe, goal: Goal, adapter: Path, seed: int) -> Evaluation:
    """Base against aligned on prompts that nothing else has seen, from fresh noise."""
    known = scorers()
    sides = Aligned(base, adapter, **recipe.call)
    try:
        return evaluate(
            sides.base,
            sides.aligned,
            prompts("final")[: recipe.final_prompts],
            known,
            next(iter(goal.labels)),
            seed=seed + 1,
            used_for_labels=set(goal.labels),
            thresholds=best_possible(known),
            options=Options(batch_size=16),
        )
    finally:
        sides.close()


class timed:
    """Adds the wall time of a block to a table of seconds."""

    def __init__(self, seconds: dict[str, float], name: str):
        self.seconds, self.name = seconds, name

    def __enter__(self) -> None:
        self.started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds[self.name] = time.perf_counter() - self.started


def quiet() -> None:
    """Two threads at most, since more only wait for each other on such small models; and no bars for files that load in a blink."""
    import diffusers
    import torch
    import transformers

    torch.set_num_threads(min(2, torch.get_num_threads()))
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
