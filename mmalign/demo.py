"""The whole job on the embedded world: pairs from the base's own pictures, alignment, evaluation, report.

What runs is what runs for SDXL: the same samplers, readers, loop and report. Only the settings below belong to the demo; they were
chosen on the prompts of the split ``tuning``, and the report is on those of ``final``, which nothing else has seen.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmalign import pipelines, rewards
from mmalign.config import RunConfig, from_mapping, load_config, save_resolved
from mmalign.data.write import write_pickapic
from mmalign.diffusion.aligned import Aligned
from mmalign.diffusion.family import DiffusionFamily
from mmalign.errors import UserError
from mmalign.evaluation.evaluate import evaluate
from mmalign.evaluation.plan import Options
from mmalign.evaluation.report import write_report
from mmalign.evaluation.result import Evaluation
from mmalign.evaluation.run import best_possible, told
from mmalign.pairs import Label, sample_pairs
from mmalign.shapes.captions import prompts
from mmalign.training.run import train

TASTE = "taste"
PAIRS = "pairs.parquet"


@dataclass(frozen=True)
class Recipe:
    """How the demo aligns one embedded base.

    Attributes:
        user: whose taste the labels follow.
        call: how pictures are drawn.
        method: fields of the objective by method; another method runs with its own defaults.
        train, adapter: sections of the training configuration.
        per_prompt: candidates drawn per prompt.
        pair_prompts, final_prompts: how many prompts of the splits ``pairs`` and ``final`` are used.
    """

    user: str = "poster"
    call: Mapping[str, float] = field(default_factory=lambda: {"num_inference_steps": 12, "guidance_scale": 2.0})
    method: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"diffusion_dpo": {"beta": 600.0}})
    train: Mapping[str, Any] = field(default_factory=dict)
    adapter: Mapping[str, Any] = field(default_factory=dict)
    per_prompt: int = 4
    pair_prompts: int = 240
    final_prompts: int = 240


TRAIN = {"checkpoints_total_limit": 1, "checkpointing_steps": 25, "resume_from_checkpoint": "latest", "logging_steps": 5}
TARGETS = ["to_k", "to_q", "to_v", "to_out.0", "conv1", "conv2", "ff.net.0.proj", "ff.net.2"]
LORA = {"name": "lora", "rank": 16, "targets": TARGETS}
STEPS = {
    "max_train_steps": 150,
    "train_batch_size": 16,
    "learning_rate": 7e-4,
    "lr_scheduler": "constant_with_warmup",
    "lr_warmup_steps": 10,
}
# errors of epsilon are several times smaller than those of v or a velocity: a larger beta, and smaller steps
EPSILON = Recipe(method={"diffusion_dpo": {"beta": 6000.0}}, train={**STEPS, "max_train_steps": 100, "learning_rate": 2e-4}, adapter=LORA)
RECIPES = {"sdxl": Recipe(train=STEPS, adapter=LORA), "sd3": Recipe(train=STEPS), "sd": EPSILON}


def run(out: Path, family: str = "sdxl", method: str = "diffusion_dpo", seed: int = 0) -> Evaluation:
    """Runs the demo, writes everything below ``out`` and prints the table and where to look. A demo that was stopped goes on.

    Raises:
        UserError: unknown family or method, or ``out`` holds a finished demo or one with other options.
    """
    if family not in RECIPES:
        raise UserError(f"the demo has no family {family!r}; there are: {', '.join(RECIPES)}")
    quiet()
    recipe, seconds = RECIPES[family], {}
    config = run_config(recipe, out, family, method, seed)
    base = pipelines.load(family, f"shapes/{family}")
    claim(out, config)

    if not (out / PAIRS).exists():
        with timed(seconds, "pairs"):
            draw_pairs(base, recipe, out / PAIRS, seed)
    with timed(seconds, "training"):
        train(config, pipe=base.pipe)
    result = judge(base, recipe, out / "aligned", seed)
    result.seconds.update(seconds | {"total": sum(seconds.values()) + result.seconds["evaluation"]})
    command = f"mmalign demo --out {out.name} --family {family} --method {method} --seed {seed}"
    page = write_report(result, out, config=config.model_dump(mode="json"), command=command, metrics=out / "aligned" / "metrics.jsonl")
    print(f"\n{told(result)}\n\nlook at       {page}\nside by side  {out / 'side_by_side.png'}\nthe adapter   {out / 'aligned'}")
    return result


def claim(out: Path, config: RunConfig) -> None:
    """Makes the folder this demo's, unless it is another's. Raises UserError where it is, or where it holds a finished demo."""
    if (out / "report.json").exists():
        raise UserError(f"{out} holds a finished demo, look at {out / 'report.html'}; remove the folder or choose another with --out")
    mark = out / "demo.yaml"
    if not mark.exists():
        save_resolved(config, mark)
    elif load_config(mark) != config:
        raise UserError(f"{out} holds an unfinished demo with other options; remove the folder or choose another with --out")


def run_config(recipe: Recipe, out: Path, family: str, method: str, seed: int) -> RunConfig:
    """The training configuration of the demo, as a user would write it."""
    values = {
        "model": {"family": family, "pretrained": f"shapes/{family}"},
        "adapter": dict(recipe.adapter),
        "data": {"source": str(out / PAIRS)},
        "method": {"name": method} | dict(recipe.method.get(method, {})),
        "train": dict(TRAIN) | dict(recipe.train),
        "validation": {"prompts": prompts("tuning")[:8], "steps": 50} | dict(recipe.call),
        "output_dir": str(out / "aligned"),
        "seed": seed,
    }
    return from_mapping(values, RunConfig, "the demo")


def draw_pairs(base: DiffusionFamily, recipe: Recipe, path: Path, seed: int) -> None:
    """The base's own pictures, labelled by the user's taste; a picture is never preferred for its style if it shows less of the caption."""
    labels = {TASTE: Label(rewards.load(TASTE, user=recipe.user)), "oracle": Label(rewards.load("oracle"), weight=0.3, never_worse=True)}

    def sampler(texts, seeds):
        return base.sample(texts, seeds, batch_size=len(texts), **recipe.call)

    pairs = sample_pairs(sampler, prompts("pairs")[: recipe.pair_prompts], labels, per_prompt=recipe.per_prompt, seed=seed, min_gap=0.02)
    write_pickapic(pairs, path, seed=seed)


def judge(base: DiffusionFamily, recipe: Recipe, adapter: Path, seed: int) -> Evaluation:
    """Base against aligned on prompts that nothing else has seen, from fresh noise."""
    scorers = {
        TASTE: rewards.load(TASTE, user=recipe.user),
        "oracle": rewards.load("oracle"),
        "colorfulness": rewards.load("colorfulness"),
    }
    sides = Aligned(base, adapter, **recipe.call)
    try:
        return evaluate(
            sides.base,
            sides.aligned,
            prompts("final")[: recipe.final_prompts],
            scorers,
            TASTE,
            seed=seed + 1,
            used_for_labels={TASTE, "oracle"},
            thresholds=best_possible(scorers),
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
