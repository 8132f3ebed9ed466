"""What a run says of itself before the first step: strength, rates, batch arithmetic, memory, planned outputs."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from mmalign.config import GuardConfig
from mmalign.training.loop import Run, train_step
from mmalign.training.memory import size_of
from mmalign.training.parts import Parts
from mmalign.training.reference import EarlierAdapter, EarlierCopy, FrozenCopy, NoReference, WithoutUser
from mmalign.training.sharded import own
from mmalign.training.split_memory import bytes_of
from mmalign.training.step_memory import estimated, first_of, watched


def announce(parts: Parts, say: Callable[[str], None] | None) -> None:
    """Prints the batch arithmetic and the effective strengths; nothing where ``say`` is None."""
    if say is None:
        return
    run, config, plan = parts.run, parts.config, parts.run.plan
    trained = sum(p.numel() for p in run.parameters)
    total = sum(p.numel() for p in run.policy.module.parameters())
    say(f"method         {config.method.name}: {run.objective}")
    for name, value in parts.about.strengths.items():
        say(f"{name:<14} {value}")
    rate = f"{run.learning_rate:g}"
    if config.train.scale_lr:
        rate += f" ({config.train.learning_rate:g} x {plan.rows_per_step} rows per step)"
    say(f"effective rate {rate}{run.apart or ''}, {config.train.lr_scheduler}, {config.train.optimizer}")
    product = f"{plan.batch_size} rows x {plan.accumulation} accumulated x {plan.world} processes"
    say(f"batch          {product} = {plan.rows_per_step} rows per step")
    epochs = config.train.max_train_steps * plan.rows_per_step / parts.rows
    say(f"data           {parts.rows} rows, {config.train.max_train_steps} steps, {epochs:.2f} epochs")
    if parts.caches:
        say(f"caches         {parts.caches}")
    if (reference := parts.reference or reference_of(run)) is not None:
        say(f"reference      {reference}")
    say(f"guard          {guarded(config.guard)}")
    say(f"trained        {trained:,} of {total:,} parameters ({parts.about.trained}) on {run.accelerator.device}")


def dry_run(parts: Parts, micro_batches: Iterator[Any]) -> None:
    """Takes one step without keeping it. The main process prints its numbers, time, memory and the planned outputs."""
    run = parts.run
    main, several = run.accelerator.is_main_process, run.accelerator.num_processes > 1
    first, micro_batches = first_of(micro_batches)
    if main and (wanted := estimated(run, first)) is not None:
        print(f"memory on GPU  {wanted} (estimated{', each process' if several else ''})")
    with watched(run) as taken:
        started = time.perf_counter()
        metrics, origins = train_step(run, micro_batches)
        said = run.accelerator.reduce(torch.stack([value.float() for value in metrics.values()]), reduction="mean").tolist()
        seconds = time.perf_counter() - started
    if not main:
        return
    print(f"first batch    {'; '.join(origins[:4])}{' ...' if len(origins) > 4 or several else ''}")
    print("first step     " + ", ".join(f"{name} {value:.4g}" for name, value in zip(metrics, said, strict=True)))
    minutes = seconds * run.config.max_train_steps / 60
    print(f"time           {seconds:.2f} s for the first step, about {minutes:.0f} min for all at that pace")
    print(f"memory         {memory(run)}{taken()}{'; of this process' if several else ''}")
    print(f"would write    {run.output_dir}: {', '.join(planned(parts))}")


def memory(run: Run) -> str:
    """The sizes of weights, gradients and optimizer state in this process."""
    trained = bytes_of(run.parameters) // run.stepping.split.gradients
    states = bytes_of(own(t) for s in run.optimizer.state.values() for t in s.values() if isinstance(t, torch.Tensor))
    copied = size(run.trainable.reference.module) if isinstance(getattr(run.trainable, "reference", None), FrozenCopy) else 0
    parts = {"weights": size(run.policy.module), "reference": copied, "gradients": trained, "optimizer": states}
    return ", ".join(f"{name} {size_of(count)}" for name, count in parts.items())


def size(module: nn.Module) -> int:
    """Bytes of a model's weights in this process."""
    return bytes_of(map(own, module.parameters()))


def reference_of(run: Run) -> str | None:
    """What the policy is measured against and what it costs; None for models that are measured against nothing."""
    match getattr(run.trainable, "reference", None):
        case None:
            return None
        case NoReference():
            return "none: the method needs none, and no copy of the weights is kept on the device"
        case WithoutUser():
            return "the model without the user, no memory of its own"
        case EarlierAdapter():
            return "the model with an earlier state of the adapter, which takes the adapter's size"
        case EarlierCopy(module=module):
            return f"a copy of the model in an earlier state, {size(module) / 2**20:.1f} MiB"
        case FrozenCopy(module=module):
            return f"a frozen copy of the model, {size(module) / 2**20:.1f} MiB"
        case _:
            return "the model with the adapter off, no memory of its own"


def guarded(config: GuardConfig) -> str:
    """What the guard does about what it sees."""
    if config.action == "rollback":
        often = f"{config.max_rollbacks} times at most, then stops"
        return f"goes back to the last good checkpoint with the rate times {config.rate_factor:g}, {often}"
    return {"report": "tells what it sees, and goes on", "stop": "stops the run at what it sees"}[config.action]


def planned(parts: Parts) -> list[str]:
    """Names of what a run leaves in its folder."""
    result, *more = parts.about.files
    steps = parts.run.config.checkpointing_steps
    return [result, "README.md", "config.yaml", "metrics.jsonl", f"checkpoint-N/ every {steps} steps", *more]
