"""The whole job on the embedded world, for a vision-language model: MIA-DPO.

Questions about one picture become questions about one of several; the model's own wrong answers are what is rejected; DPO; and both models
answer questions about pictures that nothing else has seen. What runs is what runs for LLaVA-1.5: the same miner, reader, loop and report.
Settings were chosen on the captions of the split ``tuning``, and the report is on those of ``final``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mmalign import pipelines
from mmalign.config import ResponseRunConfig, from_mapping
from mmalign.config.mia import MiaConfig
from mmalign.demo import claim, timed
from mmalign.evaluation.answers.evaluate import Options, evaluate
from mmalign.evaluation.answers.questions import load_questions
from mmalign.evaluation.answers.report import write_report
from mmalign.evaluation.answers.result import AnswersEvaluation
from mmalign.evaluation.answers.run import told
from mmalign.evaluation.answers.sides import AlignedVlm
from mmalign.factory.mia.run import run as mine
from mmalign.shapes.exam import exam, write
from mmalign.training.log import METRICS_FILE
from mmalign.training.run import train

MODEL = "shapes/vlm"
MOST_TOKENS = 24
"""Of an answer."""


@dataclass(frozen=True)
class Recipe:
    """How the demo aligns the model.

    Attributes:
        asked: questions about one picture, of captions of the split ``pairs``.
        kinds: what they become, with shares by number of pictures.
        train: the section of the training configuration.
        method: the objective: DPO with the likelihood of the chosen answer, at the weight that MIA-DPO's released code has by default.
        final: questions of each set, of captions of the split ``final``.
    """

    asked: int = 1600
    kinds: Mapping[str, Mapping[int, float]] = field(default_factory=lambda: {"sequence": {2: 1, 3: 1, 4: 1, 5: 1}})
    train: Mapping[str, Any] = field(default_factory=lambda: TRAIN)
    method: Mapping[str, Any] = field(default_factory=lambda: {"name": "rpo", "beta": 0.1, "nll_weight": 1.0})
    rank: int = 16
    final: Mapping[str, int] = field(default_factory=lambda: {"one": 140, "named": 420, "together": 40, "clips": 60})


TRAIN = {
    "max_train_steps": 90,
    "train_batch_size": 16,
    "learning_rate": 1e-3,
    "lr_scheduler": "cosine",
    "lr_warmup_steps": 8,
    "adam_weight_decay": 0.0,
    "checkpoints_total_limit": 1,
    "checkpointing_steps": 25,
    "resume_from_checkpoint": "latest",
    "logging_steps": 5,
}


def run(out: Path, seed: int = 0, recipe: Recipe = Recipe()) -> AnswersEvaluation:
    """Runs the demo, writes everything below ``out`` and prints the tables and where to look. A demo that was stopped goes on.

    Raises:
        UserError: ``out`` holds a finished demo, or one with other options.
    """
    torch.set_num_threads(min(2, torch.get_num_threads()))  # more only wait for each other on so small a model
    seconds: dict[str, float] = {}
    config = run_config(recipe, out, seed)
    claim(out, config)
    preferences = Path(config.data.source)
    if not preferences.exists():
        with timed(seconds, "preferences"):
            print(mine(mining(recipe, out, seed)))
    with timed(seconds, "training"):
        train(config)
    result = judge(recipe, out / "aligned", seed)
    result.seconds.update(seconds | {"total": sum(seconds.values()) + result.seconds["evaluation"]})
    command = f"mmalign demo --task vlm --out {out.name} --seed {seed}"
    page = write_report(result, out, config.model_dump(mode="json"), command, out / "aligned" / METRICS_FILE)
    print(f"\n{told(result)}\n\nlook at          {page}\nthe preferences  {out / 'mia.html'}\nthe adapter      {out / 'aligned'}")
    return result


def mining(recipe: Recipe, out: Path, seed: int) -> MiaConfig:
    """What makes the preferences, of questions that are written first."""
    asked = write(exam("shapes/pairs", {"one": recipe.asked}, seed), out / "questions")
    values = {
        "vlm": {"pretrained": MODEL},
        "data": {"source": str(asked)},
        "kinds": recipe.kinds,
        # words of the world are short, and a model that knows nothing else is sure of them
        "min_perplexity": None,
        "max_length_ratio": None,
        "min_edit_distance": 0.0,
        "max_new_tokens": MOST_TOKENS,
        "batch_size": 32,
        "seed": seed,
        "out": str(out / "mia"),
    }
    return from_mapping(values, MiaConfig, "the demo")


def run_config(recipe: Recipe, out: Path, seed: int) -> ResponseRunConfig:
    """The training configuration of the demo, as a user would write it."""
    values = {
        "vlm": {"pretrained": MODEL},
        "adapter": {"name": "lora", "rank": recipe.rank},
        "data": {"source": str(out / "mia"), "reference_cache": str(out / "reference")},
        "method": dict(recipe.method),
        "train": dict(recipe.train),
        "output_dir": str(out / "aligned"),
        "seed": seed,
    }
    return from_mapping(values, ResponseRunConfig, "the demo")


def judge(recipe: Recipe, adapter: Path, seed: int) -> AnswersEvaluation:
    """Base against aligned on questions about pictures that nothing else has seen."""
    questions = load_questions(exam("shapes/final", recipe.final, seed + 1))
    sides = AlignedVlm(pipelines.configured_vlm(run_config(recipe, adapter.parent, seed).vlm), adapter)
    return evaluate(sides, questions, options=Options(max_new_tokens=MOST_TOKENS, batch_size=32, seed=seed))
