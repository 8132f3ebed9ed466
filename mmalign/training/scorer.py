"""A run that trains a CLIP-type reward scorer: its parts, from the configuration."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from accelerate import Accelerator

from mmalign import plugins
from mmalign.config import RewardConfig, ScorerRunConfig
from mmalign.data.broken import first_readable
from mmalign.data.schema import Example
from mmalign.errors import UserError
from mmalign.scorers.clip import ClipReward
from mmalign.scorers.policy import ScorerPolicy
from mmalign.training.about import about_scorer
from mmalign.training.held_out import HeldOut
from mmalign.training.log import RunLog
from mmalign.training.loop import Run
from mmalign.training.parts import Parts, batch_plan, binding
from mmalign.training.preferences import check_candidates, check_label, load_examples
from mmalign.training.scorer_data import Collate, ScorerRows
from mmalign.training.scorer_trained import ScorerTraining


@contextmanager
def building(
    config: ScorerRunConfig,
    accelerator: Accelerator,
    output_dir: Path,
    rows: int | None = None,
    *,
    examples: Sequence[Example] | None = None,
    held_out: Sequence[Example] | None = None,
) -> Iterator[Parts]:
    """All parts of a run.

    Args:
        rows: prepare the first so many rows only: a dry run. None = all.
        examples: preferences that are already there, in place of ``config.data.source``.
        held_out: preferences to measure on that are already there, in place of ``config.evaluation.source``.
    """
    objective = config.method.build()
    # mistakes in the data are told before gigabytes are loaded
    # images that are read in every epoch are looked at when they are read
    examples = load_examples(config.data, lazily=not config.data.in_memory) if examples is None else examples
    first = first_readable(examples)
    check_candidates(objective, first)
    check_label(objective, first)
    if held_out is None and config.evaluation.source is not None:
        held_out = load_examples(config.evaluation)
    reward = load_scorer(config.scorer, accelerator)
    dataset = ScorerRows(examples[:rows], reward.prepare, objective)
    if config.data.in_memory:
        dataset.keep(accelerator.is_main_process)
    collate = Collate(reward.tokenize)
    plan = batch_plan(config, len(dataset), accelerator)
    trained = ScorerTraining(reward.clip, config.locking, config.train.gradient_checkpointing)
    try:
        settings = binding(config, ("method", "scorer", "locking"), plan, the_preferences=dataset.digest())
        run = Run(accelerator, config.train, ScorerPolicy(trained.module), objective, trained, plan, output_dir, settings)
        watch = unwatched if rows is not None else watching(run, config, held_out, reward, collate)
        yield Parts(run, config, dataset, collate, len(examples), about_scorer(config, reward), watch)
    finally:
        accelerator.unwrap_model(trained.module, keep_fp32_wrapper=False)
        trained.remove()


def load_scorer(config: RewardConfig, accelerator: Accelerator) -> ClipReward:
    """The reward to train, on this process's device.

    Raises:
        UserError: it is not a CLIP-type scorer of images under prompts, or not in float32, or is placed by hand.
    """
    kind = plugins.load(config.package, config.name)
    if not (isinstance(kind, type) and issubclass(kind, ClipReward) and kind.needs_prompt):
        raise UserError(
            f"scorer.name is {config.name}, which does not compare images with prompts as a CLIP does; train pickscore, hpsv2 ..."
        )
    fields = config.fields()
    if fields.get("dtype", "float32") != "float32":
        raise UserError(f"scorer.dtype is {fields['dtype']}, in which small steps vanish; leave it out and set train.mixed_precision bf16")
    if fields.get("device", "auto") != "auto":
        raise UserError(f"scorer.device is {fields['device']}, but processes get their devices from accelerate; leave it out")
    reward = kind(**fields | {"device": str(accelerator.device)})
    if reward.clip.preprocess.fit == "patches":
        raise UserError(
            "this scorer leaves every picture its own shape, which training in batches does not; train one with square pictures"
        )
    return reward


def unwatched(step: int, log: RunLog) -> None:
    """Nothing is measured during the run."""


def watching(run: Run, config: ScorerRunConfig, held_out: Sequence[Example] | None, reward: ClipReward, collate: Collate):
    """What measures on held-out preferences, where there are any."""
    if held_out is None:
        return unwatched
    rows = ScorerRows(held_out, reward.prepare)
    if config.evaluation.in_memory:
        rows.keep(run.accelerator.is_main_process)
    return HeldOut(run, rows, collate, config.evaluation)
