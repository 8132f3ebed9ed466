"""A training run from its configuration: builds every part, trains, and writes what the stock libraries read."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import GradientAccumulationPlugin, ProjectConfiguration
from torch.utils.data import DataLoader

from mmalign import data, pipelines
from mmalign.config import DataConfig, RunConfig, save_resolved
from mmalign.data.schema import Example
from mmalign.diffusion.family import DiffusionFamily
from mmalign.diffusion.policy import DiffusionPolicy
from mmalign.errors import UserError
from mmalign.objective import Objective
from mmalign.training import card, checkpoint, summary
from mmalign.training.dataset import EncodedExamples, collate
from mmalign.training.encode import Share, encode
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
    rows: int


def train(config: RunConfig, dry_run: bool = False, *, pipe: Any = None, examples: Sequence[Example] | None = None) -> Path:
    """Trains as configured and returns the output folder.

    Args:
        config: the run's configuration.
        dry_run: build everything, run one batch, print what would happen, write nothing.
        pipe: a pipeline that is already there, in place of ``config.model``; it is given back as it was.
        examples: preferences that are already there, in place of ``config.data.source``.

    Raises:
        UserError: the configuration, the model or the data cannot be used; the message says which and how to mend it.
        Interrupted: stopped by a signal, after a checkpoint was written.
    """
    output_dir = config.output_dir.expanduser()
    accelerator = make_accelerator(config, output_dir)
    if dry_run:
        with building(in_memory(config), accelerator, output_dir, pipe, examples, rows=rows_per_step(config, accelerator)) as parts:
            summary.announce(parts.run, config, parts.rows, print if accelerator.is_main_process else None)
            summary.dry_run(parts.run, batches(parts), config)
        return output_dir
    prepare_output(config, output_dir, accelerator)
    with building(config, accelerator, output_dir, pipe, examples) as parts:
        summary.announce(parts.run, config, parts.rows, print if accelerator.is_main_process else None)
        parts.run.resume()
        if accelerator.is_main_process:
            save_resolved(config, output_dir / CONFIG_FILE)  # only now: a resume that is refused changes nothing
            accelerator.init_trackers("logs")
        log = RunLog(accelerator, output_dir, parts.run.step)
        fit(parts.run, batches(parts), log, Validation(parts.run, parts.family, config.validation))
        if accelerator.is_main_process:
            write_result(parts, config, output_dir)
        accelerator.end_training()
    return output_dir


def make_accelerator(config: RunConfig, output_dir: Path) -> Accelerator:
    """Precision, processes and trackers. Accumulation is the loop's own, in whole rows.

    Raises:
        UserError: the precision does not exist on this device, or processes were launched that do not find each other.
    """
    if AcceleratorState._shared_state:
        AcceleratorState._reset_state()  # a second run in one session may want another precision
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    # without a GPU, accelerate joins launched processes only when told that it is on the CPU
    alone = launched > 1 and not torch.accelerator.is_available()
    accelerator = Accelerator(
        mixed_precision=config.train.mixed_precision,
        cpu=alone,
        log_with=None if config.train.report_to == "none" else config.train.report_to,
        project_config=ProjectConfiguration(project_dir=str(output_dir), logging_dir=str(output_dir)),
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
    )
    if accelerator.num_processes != launched:
        raise UserError(f"{launched} processes were launched but accelerate sees {accelerator.num_processes}; start them with torchrun")
    if config.train.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise UserError("train.mixed_precision is fp16, which needs a GPU; use no or bf16 on the CPU")
    return accelerator


def rows_per_step(config: RunConfig, accelerator: Accelerator) -> int:
    """Rows of one optimizer step over all processes."""
    return config.train.train_batch_size * config.train.gradient_accumulation_steps * accelerator.num_processes


def in_memory(config: RunConfig) -> RunConfig:
    """The same run, but its cache in memory: a dry run leaves nothing behind."""
    return config.model_copy(update={"data": config.data.model_copy(update={"cache_dir": None})})


def prepare_output(config: RunConfig, output_dir: Path, accelerator: Accelerator) -> None:
    """Makes the folder.

    Raises:
        UserError: the folder cannot be made, or holds another run and this one is not to resume.
    """
    if accelerator.is_main_process:
        if checkpoint.checkpoints(output_dir) and config.train.resume_from_checkpoint is None:
            raise UserError(
                f"output_dir {output_dir} holds the checkpoints of an earlier run; go on with --train.resume-from-checkpoint latest, "
                "or choose another output_dir"
            )
        try:
            output_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make output_dir {output_dir}: {error.strerror}; choose another place") from error
    accelerator.wait_for_everyone()


@contextmanager
def building(
    config: RunConfig, accelerator: Accelerator, output_dir: Path, pipe: Any, examples: Sequence[Example] | None, rows: int | None = None
) -> Iterator[Parts]:
    """All parts of a run, over the first ``rows`` rows or all. At the end the pipeline is given back as it was."""
    objective = config.method.build()
    family = pipelines.configured(config.model) if pipe is None else pipelines.load(pipe, logit_normal=config.model.logit_normal)
    device = family.device
    family.pipe.to(accelerator.device)
    examples = load_examples(config.data) if examples is None else examples
    check_candidates(objective, examples[0])
    share = Share(accelerator.process_index, accelerator.num_processes, accelerator.wait_for_everyone)
    dataset = encode(family, examples[:rows], config.data, config.seed, share, progress=accelerator.is_main_process)
    settings = config.train
    plan = BatchPlan(
        rows=len(dataset),
        batch_size=settings.train_batch_size,
        accumulation=settings.gradient_accumulation_steps,
        world=accelerator.num_processes,
        rank=accelerator.process_index,
        seed=config.seed,
    )
    trained = trainable(family, config.adapter, derived_seed(config.seed, "adapter"), settings.mixed_precision != "no")
    try:
        if settings.gradient_checkpointing:
            family.denoiser.enable_gradient_checkpointing()
        if not (config.validation.steps and config.validation.prompts):
            family.rest_encoders()
        policy = DiffusionPolicy(family, trained.module, trained.reference, accelerator.autocast)
        run = Run(accelerator, settings, policy, objective, trained, plan, output_dir, binding(config, dataset, plan))
        yield Parts(family, trained, dataset, run, len(examples))
    finally:
        accelerator.unwrap_model(trained.module, keep_fp32_wrapper=False)
        if settings.gradient_checkpointing:
            family.denoiser.disable_gradient_checkpointing()
        trained.remove()
        family.pipe.to(device)


def binding(config: RunConfig, dataset: EncodedExamples, plan: BatchPlan) -> dict[str, Any]:
    """The settings that a resume cannot change, by dotted key, and a digest of the encoded data."""
    free = {"max_train_steps", "train_batch_size", "gradient_accumulation_steps", "checkpointing_steps", "checkpoints_total_limit"}
    free |= {"resume_from_checkpoint", "dataloader_num_workers", "report_to", "logging_steps", "gradient_checkpointing"}
    said = config.model_dump(mode="json")
    settings = {f"train.{key}": value for key, value in said["train"].items() if key not in free}
    settings |= {f"{section}.{key}": value for section in ("method", "adapter") for key, value in said[section].items()}
    settings |= {"rows": plan.rows, "rows_per_step": plan.rows_per_step, "seed": plan.seed}
    return settings | {"data.caption_dropout": config.data.caption_dropout, "the encoded data": dataset.digest()}


def load_examples(config: DataConfig, source: Any = None) -> Sequence[Example]:
    """The preferences that the configuration names, or those of a source in memory read as it says."""
    options = {"split": config.split, "ties": config.ties, "on_broken": config.on_broken} | config.columns
    return data.load(config.name, config.source if source is None else source, **options)[: config.limit]


def check_candidates(objective: Objective, example: Example) -> None:
    """Raises UserError where the method does not compare so many candidates."""
    count, wanted = len(example.images), objective.candidates
    if count not in wanted:
        number = str(wanted.start) if len(wanted) == 1 else f"{wanted.start} or more"
        raise UserError(
            f"{example.origin} has {count} candidates, but {type(objective).__name__} compares {number}; choose another method or data"
        )


def batches(parts: Parts) -> Iterator[Any]:
    """This process's micro-batches from the run's step on, read ahead by the loader."""
    run = parts.run
    workers = run.config.dataloader_num_workers
    loader = DataLoader(
        parts.dataset,
        batch_sampler=run.plan.from_step(run.step, run.config.max_train_steps),
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
