"""A training run from its configuration: builds every part, trains, and writes what the stock libraries read."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import GradientAccumulationPlugin, ProjectConfiguration

from mmalign.config import ResponseRunConfig, RunConfig, ScorerRunConfig, TrainConfig, TrainingConfig, save_resolved
from mmalign.errors import UserError
from mmalign.training import card, checkpoint, diffusion, profile, responses, scorer, summary, zero
from mmalign.training.guard_actions import ensure_way_back
from mmalign.training.loader import read_ahead
from mmalign.training.log import RunLog
from mmalign.training.loop import fit
from mmalign.training.parts import Parts, rows_per_step
from mmalign.training.sharded import gathered

CONFIG_FILE = "config.yaml"
KINDS: dict[type[TrainingConfig], Callable[..., AbstractContextManager[Parts]]] = {
    RunConfig: diffusion.building,
    ScorerRunConfig: scorer.building,
    ResponseRunConfig: responses.building,
}
"""What builds the parts of a run, by the kind of its configuration."""


def train(config: TrainingConfig, dry_run: bool = False, **given: Any) -> Path:
    """Trains as configured and returns the output folder.

    Args:
        config: the run's configuration; its class says what kind of model is trained.
        dry_run: build everything, run one batch, print what would happen, write nothing.
        given: what is already in memory, in place of what the configuration names: ``examples``, the preferences; for an image
            generator ``pipe``, which is given back as it was; for a scorer ``held_out``, the preferences to measure on.

    Raises:
        UserError: the configuration, the model or the data cannot be used; the message says which and how to mend it.
        Interrupted: stopped by a signal, after a checkpoint was written.
    """
    output_dir = config.output_dir.expanduser()
    accelerator = make_accelerator(config.train, output_dir, splits(config))
    if not dry_run:
        prepare_output(config, output_dir, accelerator)
    rows = rows_per_step(config.train, accelerator) if dry_run else None
    with KINDS[type(config)](config, accelerator, output_dir, rows, **given) as parts:
        summary.announce(parts, print if accelerator.is_main_process else None)
        with closing(parts.run.stepping):
            if dry_run:
                summary.dry_run(parts, batches(parts, parts.run.step))
            else:
                carry_out(parts, output_dir)
    accelerator.end_training()
    return output_dir


def profiled(config: TrainingConfig, trace: Path | None = None, **given: Any) -> None:
    """Takes a few steps of a run on its first rows, and prints where their time and memory go. It writes nothing but the trace.

    Args:
        config: the run's configuration.
        trace: file for a trace in Chrome's format; None = none.
        given: as for ``train``.

    Raises:
        UserError: as ``train`` does.
    """
    steps = max(config.train.max_train_steps, profile.IN_ALL)
    config = config.model_copy(update={"train": config.train.model_copy(update={"max_train_steps": steps})})
    output_dir = config.output_dir.expanduser()
    accelerator = make_accelerator(config.train, output_dir, splits(config))
    with KINDS[type(config)](config, accelerator, output_dir, rows_per_step(config.train, accelerator), **given) as parts:
        summary.announce(parts, print if accelerator.is_main_process else None)
        with closing(parts.run.stepping):
            profile.profile(parts.run, batches(parts, 0), print if accelerator.is_main_process else lambda text: None, trace)


def carry_out(parts: Parts, output_dir: Path) -> None:
    """Trains from the beginning or from a checkpoint to the end, and writes the result."""
    run, accelerator = parts.run, parts.run.accelerator
    run.watch_by(parts.config.guard)
    resumed = run.resume()
    if accelerator.is_main_process:
        save_resolved(parts.config, output_dir / CONFIG_FILE)  # only now: a resume that is refused changes nothing
        accelerator.init_trackers("logs")
    log = RunLog(accelerator, output_dir, run.step if resumed else None, run.guard.events)
    if not resumed:
        parts.watch(0, log)
    ensure_way_back(run)
    fit(run, lambda start: batches(parts, start, log), log, lambda step: parts.watch(step, log))
    if run.ema is not None:
        run.ema.copy_to(run.parameters)  # averaged weights are what is saved, where there are any
    with gathered(run.trainable.module, accelerator.is_main_process):
        if accelerator.is_main_process:
            write_result(parts, output_dir)


def splits(config: TrainingConfig) -> bool:
    """Whether a run splits the model among its processes."""
    return isinstance(config, RunConfig) and bool(config.speed.shard)


def make_accelerator(config: TrainConfig, output_dir: Path, split: bool = False) -> Accelerator:
    """Precision, processes and trackers. Accumulation is the loop's own, in whole rows.

    Raises:
        UserError: the precision does not exist on this device, or processes were launched that do not find each other.
    """
    if AcceleratorState._shared_state:
        AcceleratorState._reset_state()  # a second run in one session may want another precision
    check_launcher(split)
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    # without a GPU, accelerate joins launched processes only when told that it is on the CPU
    alone = launched > 1 and not torch.accelerator.is_available()
    with zero.hidden():
        accelerator = Accelerator(
            mixed_precision=config.mixed_precision,
            cpu=alone,
            log_with=None if config.report_to == "none" else config.report_to,
            project_config=ProjectConfiguration(project_dir=str(output_dir), logging_dir=str(output_dir)),
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        )
    if accelerator.num_processes != launched:
        raise UserError(f"{launched} processes were launched but accelerate sees {accelerator.num_processes}; start them with torchrun")
    if config.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise UserError("train.mixed_precision is fp16, which needs a GPU; use no or bf16 on the CPU")
    return accelerator


def check_launcher(split: bool = False) -> None:
    """Looks at what accelerate's launcher has left in the environment.

    Args:
        split: whether the run splits the model by itself.

    Raises:
        UserError: it was told to split the model in a way that runs do not go; or to start several processes, of which it starts one on
            a CPU.
    """
    started = any(f"{name}SIZE" in os.environ for name in ("WORLD_", "PMI_", "OMPI_COMM_WORLD_", "MV2_COMM_WORLD_"))
    if "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_ADDR" in os.environ and not started:
        raise UserError(
            "accelerate launch was asked for several processes and has started one; use torchrun --nproc_per_node N -m mmalign train"
        )
    zero.asked()
    if not split and os.environ.get("ACCELERATE_USE_FSDP", "false").lower() in ("true", "1"):
        raise UserError("accelerate is configured for FSDP, which runs do in their own way; set speed.shard true, or use plain multi-GPU")


def prepare_output(config: TrainingConfig, output_dir: Path, accelerator: Accelerator) -> None:
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


def batches(parts: Parts, start: int, log: RunLog | None = None) -> Iterator[Any]:
    """This process's micro-batches from a step on (0 = the first), read ahead by the loader, or drawn by the model itself.

    The loop asks again, with an earlier step, where it goes back to a checkpoint; it first closes what it was given.
    """
    if parts.stream is not None:
        return parts.stream(start, log)
    run = parts.run
    items = run.plan.from_step(start, run.config.max_train_steps)
    pin, on_broken = run.accelerator.device.type == "cuda", parts.config.data.on_broken
    return read_ahead(parts.dataset, items, parts.collate, run.config.dataloader_num_workers, pin, on_broken)


def write_result(parts: Parts, output_dir: Path) -> None:
    """What was trained at the folder's top, and the model card."""
    run = parts.run
    staging = output_dir / ".result.tmp"
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        run.trainable.save(staging)
        card.write(staging, parts)
        for path in list(staging.iterdir()):
            final = output_dir / path.name
            if final.is_dir():
                shutil.rmtree(final)
            path.replace(final)
        staging.rmdir()
    except OSError as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise UserError(f"cannot write the result to {output_dir}: {error}; free some space and resume from the last checkpoint") from error
