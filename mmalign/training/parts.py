"""The parts of a run, whatever kind of model it trains, and what of the configuration a resume cannot change.

A kind of model is a function ``building(config, accelerator, output_dir, rows, ...)`` in a file of its own: a context that gives ``Parts``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from accelerate import Accelerator
from torch.utils.data import Dataset

from mmalign.config import TrainConfig, TrainingConfig
from mmalign.training.log import RunLog
from mmalign.training.loop import Run
from mmalign.training.order import BatchPlan

FREE = {"max_train_steps", "train_batch_size", "gradient_accumulation_steps", "checkpointing_steps", "checkpoints_total_limit"}
FREE |= {"resume_from_checkpoint", "dataloader_num_workers", "report_to", "logging_steps", "gradient_checkpointing"}


@dataclass(frozen=True)
class About:
    """What is said of a run's model before the first step, and in its card.

    Attributes:
        base: what it is trained from.
        trained: which part of it is trained.
        library: what reads the result, by the hub's name.
        tags: for the hub.
        usage: lines of Python that load the result from ``THIS_FOLDER``.
        files: names of what the run leaves, beside what every run does.
        strengths: effective strengths of the method, by name.
    """

    base: str
    trained: str
    library: str
    tags: Sequence[str]
    usage: Sequence[str]
    files: Sequence[str]
    strengths: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Parts:
    """A run with what it reads and what it does beside stepping.

    Attributes:
        run: the run.
        config: its configuration, with the defaults of the model's family filled in.
        dataset: rows, addressed by (row, position).
        collate: makes a batch of rows.
        rows: rows of all the data, also where a dry run has prepared a few.
        about: what is said of the model.
        watch: called with the number of finished steps, 0 before the first, for what is looked at or measured during the run.
        stream: gives batches from a step on in place of the data set's, and logs what it does; None = those of the data set.
        caches: what the run reads of what was computed before, and its bytes, to be told; empty = nothing.
        reference: what is said of the reference in place of what the trained model has; empty = nothing.
    """

    run: Run
    config: TrainingConfig
    dataset: Dataset
    collate: Callable[[Sequence[Any]], Any]
    rows: int
    about: About
    watch: Callable[[int, RunLog], None]
    stream: Callable[[int, RunLog | None], Iterator[Any]] | None = None
    caches: str = ""
    reference: str = ""


def rows_per_step(config: TrainConfig, accelerator: Accelerator) -> int:
    """Rows of one optimizer step over all processes."""
    return config.train_batch_size * config.gradient_accumulation_steps * accelerator.num_processes


def batch_plan(config: TrainingConfig, rows: int, accelerator: Accelerator, buckets: Sequence[np.ndarray] | None = None) -> BatchPlan:
    """This process's part in so many rows, of which those of a bucket come together."""
    return BatchPlan(
        rows=rows,
        batch_size=config.train.train_batch_size,
        accumulation=config.train.gradient_accumulation_steps,
        world=accelerator.num_processes,
        rank=accelerator.process_index,
        seed=config.seed,
        buckets=buckets,
    )


def binding(config: TrainingConfig, sections: Sequence[str], plan: BatchPlan, **more: Any) -> dict[str, Any]:
    """The settings that a resume cannot change, by dotted key.

    Args:
        sections: of the configuration, all of whose keys are meant; of ``train`` it is all but ``FREE``.
        more: what else must be equal, such as a digest of the data; underscores of the names become spaces.
    """
    said = config.model_dump(mode="json")
    settings = {f"train.{key}": value for key, value in said["train"].items() if key not in FREE}
    settings |= {f"{section}.{key}": value for section in sections for key, value in said[section].items()}
    settings |= {"rows": plan.rows, "rows_per_step": plan.rows_per_step, "seed": plan.seed}
    if plan.buckets is not None:
        settings["rows_together"] = plan.rows_together
    return settings | {name.replace("_", " "): value for name, value in more.items()}
