"""A training run from its configuration: builds every part, trains, and writes what the stock libraries read."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import ProjectConfiguration
from torch.utils.data import DataLoader

from mmalign import data, pipelines
from mmalign.config import DataConfig, RunConfig, save_resolved
from mmalign.data.schema import Example
from mmalign.diffusion.family import DiffusionFamily
from mmalign.diffusion.policy import DiffusionPolicy
from mmalign.errors import UserError
from mmalign.objective import Objective
from mmalign.training import card, summary
from mmalign.training.encode import EncodedExamples, collate, encode
from mmalign.training.log import RunLog
from mmalign.training.loop import Run, fit
from mmalign.training.order import BatchPlan, derived_seed
from mmalign.training.trainable import Trainable, trainable
from mmalign.training.validation import Validation

CONFIG_FILE = "config.yaml"


@dataclass
class Parts:
    """A run with what it was built from."""

    family: DiffusionFamily
    trainable: Trainable
    dataset: EncodedExamples
    run: Run


def train(config: RunConfig, dry_run: bool = False, *, pipe: Any = None, examples: Sequence[Example] | None = None) -> Path:
    """Trains as configured and returns the output folder.

    Args:
        config: the run's configuration.
        dry_run: build everything, run one batch, print what would happen, write nothing.
        pipe: a pipeline that is already there, in place of ``config.model``.
        examples: preferences that are already there, in place of ``config.data.source``.

    Raises:
        UserError: the configuration, the model or the data cannot be used; the message says which and how to mend it.
        Interrupted: stopped by a signal, after a checkpoint was written.
    """
    output_dir = Path(config.output_dir).expanduser()
    accelerator = make_accelerator(config, output_dir)
    if not dry_run:
        prepare_output(config, output_dir, accelerator)
    with building(config, accelerator, output_dir, pipe, examples) as parts:
        summary.announce(parts.run, config, print if accelerator.is_main_process else None)
        if dry_run:
            summary.dry_run(parts.run, next(batches(parts)), config)
            return output_dir
        parts.run.resume()
        log = RunLog(accelerator, output_dir, parts.run.step)
        if accelerator.is_main_process:
            accelerator.init_trackers("logs")
        fit(parts.run, batches(parts), log, Validation(parts.run, parts.family, config.validation))
        if accelerator.is_main_process:
            write_result(parts, config, output_dir)
        accelerator.end_training()
    return output_dir


def make_accelerator(config: RunConfig, output_dir: Path) -> Accelerator:
    """Precision, processes and trackers. Accumulation is the loop's own, in whole rows."""
    if AcceleratorState._shared_state:
        AcceleratorState._reset_state()  # a second run in one session may want another precision
    report_to = None if config.train.report_to == "none" else config.train.report_to
    project = ProjectConfiguration(project_dir=str(output_dir), logging_dir=str(output_dir))
    return Accelerator(mixed_precision=config.train.mixed_precision, log_with=report_to, project_config=project)


def prepare_output(config: RunConfig, output_dir: Path, accelerator: Accelerator) -> None:
    """Makes the folder and writes the resolved configuration.

    Raises:
        UserError: the folder holds another run, and this one is not to resume.
    """
    if accelerator.is_main_process:
        used = output_dir.is_dir() and any(output_dir.glob("checkpoint-*"))
        if used and config.train.resume_from_checkpoint is None:
            raise UserError(
                f"output_dir {output_dir} holds the checkpoints of an earlier run; go on with --train.resume-from-checkpoint latest, "
                "or choose another output_dir"
            )
        try:
            output_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make output_dir {output_dir}: {error.strerror}; choose another place") from error
        save_resolved(config, output_dir / CONFIG_FILE)
    accelerator.wait_for_everyone()


@contextmanager
def building(
    config: RunConfig, accelerator: Accelerator, output_dir: Path, pipe: Any, examples: Sequence[Example] | None
) -> Iterator[Parts]:
    """All parts of a run. At the end the pipeline is given back without the trained weights in it."""
    objective = config.method.build()
    family = pipelines.configured(config.model) if pipe is None else pipelines.load(pipe, logit_normal=config.model.logit_normal)
    family.pipe.to(accelerator.device)
    examples = load_examples(config.data) if examples is None else examples
    check_candidates(objective, examples[0])
    dataset = encode(family, examples, config.data, config.seed, progress=accelerator.is_main_process)
    settings = config.train
    plan = BatchPlan(
        rows=len(dataset),
        batch_size=settings.train_batch_size,
        accumulation=settings.gradient_accumulation_steps,
        world=accelerator.num_processes,
        rank=accelerator.process_index,
        seed=config.seed,
    )
    trained = trainable(family, config.adapter, derived_seed(config.seed, "adapter"))
    if settings.gradient_checkpointing:
        family.denoiser.enable_gradient_checkpointing()
    try:
        policy = DiffusionPolicy(family, trained.module, trained.reference, accelerator.autocast)
        yield Parts(family, trained, dataset, Run(accelerator, settings, policy, objective, trained, plan, output_dir))
    finally:
        accelerator.unwrap_model(trained.module, keep_fp32_wrapper=False)
        if settings.gradient_checkpointing:
            family.denoiser.disable_gradient_checkpointing()
        trained.remove()


def check_candidates(objective: Objective, example: Example) -> None:
    """Raises UserError where the method does not compare so many candidates."""
    count, wanted = len(example.images), objective.candidates
    if count not in wanted:
        number = str(wanted.start) if len(wanted) == 1 else f"{wanted.start} or more"
        raise UserError(
            f"{example.origin} has {count} candidates, but {type(objective).__name__} compares {number}; choose another method or data"
        )


def load_examples(config: DataConfig) -> Sequence[Example]:
    """The preferences that the configuration names."""
    options = {"split": config.split, "ties": config.ties, "on_broken": config.on_broken} | config.columns
    return data.load(config.name, config.source, **options)[: config.limit]


def batches(parts: Parts) -> Iterator[Any]:
    """This process's micro-batches from the run's step on, read ahead by the loader."""
    run = parts.run
    workers = run.config.dataloader_num_workers
    loader = DataLoader(
        parts.dataset,
        batch_sampler=list(run.plan.from_step(run.step, run.config.max_train_steps)),
        collate_fn=collate,
        num_workers=workers,
        pin_memory=run.accelerator.device.type == "cuda",
        persistent_workers=False,
    )
    return iter(loader)


def write_result(parts: Parts, config: RunConfig, output_dir: Path) -> None:
    """The adapter (or the model) at the folder's top, and the model card. Averaged weights are what is saved, where there are any."""
    run = parts.run
    if run.ema is not None:
        run.ema.copy_to(run.parameters)
    staging = output_dir / ".result.tmp"
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        parts.trainable.save(staging)
        card.write(staging, parts.family, config, run)
        for path in list(staging.iterdir()):
            final = output_dir / path.name
            if final.is_dir():
                shutil.rmtree(final)
            path.replace(final)
        staging.rmdir()
    except OSError as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise UserError(f"cannot write the result to {output_dir}: {error}; free some space and resume from the last checkpoint") from error
