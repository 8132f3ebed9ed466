"""What a run says of itself before the first step: strength, rates, batch arithmetic, memory, planned outputs."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from mmalign.config import RunConfig
from mmalign.training.loop import Run, train_step


def announce(run: Run, config: RunConfig, rows: int, say: Callable[[str], None] | None) -> None:
    """Prints the batch arithmetic over so many rows of data and the effective strengths; nothing where ``say`` is None."""
    if say is None:
        return
    trained = sum(p.numel() for p in run.parameters)
    total = sum(p.numel() for p in run.policy.module.parameters())
    plan = run.plan
    say(f"method         {config.method.name}: {run.objective}")
    if (beta := getattr(run.objective, "beta", None)) is not None:
        peers = f"diffusers' and DiffusionDPO's beta_dpo {beta:g}; align-anything's {beta / 2:g}"
        say(f"effective beta {beta:g} on half the mean squared error ({peers})")
    rate = f"{run.learning_rate:g}"
    if config.train.scale_lr:
        rate += f" ({config.train.learning_rate:g} x {plan.rows_per_step} rows per step)"
    say(f"effective rate {rate}, {config.train.lr_scheduler}, {config.train.optimizer}")
    product = f"{plan.batch_size} rows x {plan.accumulation} accumulated x {plan.world} processes"
    say(f"batch          {product} = {plan.rows_per_step} rows per step")
    epochs = config.train.max_train_steps * plan.rows_per_step / rows
    say(f"data           {rows} rows, {config.train.max_train_steps} steps, {epochs:.2f} epochs")
    say(f"trained        {trained:,} of {total:,} parameters ({config.adapter.name}) on {run.accelerator.device}")


def dry_run(run: Run, micro_batches: Iterator[Any], config: RunConfig) -> None:
    """Takes one step without keeping it, and prints its numbers, time, memory and the planned outputs."""
    device = run.accelerator.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    started = time.perf_counter()
    metrics, origins = train_step(run, micro_batches)
    values = {name: value.item() for name, value in metrics.items()}
    seconds = time.perf_counter() - started
    print(f"first batch    {'; '.join(origins[:4])}{' ...' if len(origins) > 4 else ''}")
    print("first step     " + ", ".join(f"{name} {value:.4g}" for name, value in values.items()))
    minutes = seconds * config.train.max_train_steps / 60
    print(f"time           {seconds:.2f} s for the first step, about {minutes:.0f} min for all at that pace")
    print(f"memory         {memory(run)}")
    print(f"would write    {run.output_dir}: {', '.join(planned(config))}")


def memory(run: Run) -> str:
    """The measured peak on a GPU, and the sizes of weights, gradients and optimizer state everywhere."""
    weights = sum(p.numel() * p.element_size() for p in run.policy.module.parameters())
    trained = sum(p.numel() * p.element_size() for p in run.parameters)
    states = sum(t.numel() * t.element_size() for s in run.optimizer.state.values() for t in s.values() if isinstance(t, torch.Tensor))
    text = f"weights {weights / 2**20:.0f} MiB, gradients {trained / 2**20:.0f} MiB, optimizer {states / 2**20:.0f} MiB"
    if run.accelerator.device.type == "cuda":
        text += f"; peak with activations {torch.cuda.max_memory_allocated(run.accelerator.device) / 2**20:.0f} MiB (measured on this step)"
    return text


def planned(config: RunConfig) -> list[str]:
    """Names of what a run leaves in its folder."""
    result = "the denoiser's weights" if config.adapter.name == "full" else "pytorch_lora_weights.safetensors"
    names = [result, "README.md", "config.yaml", "metrics.jsonl", f"checkpoint-N/ every {config.train.checkpointing_steps} steps"]
    if config.validation.steps and config.validation.prompts:
        names.append(f"samples/ every {config.validation.steps} steps")
    return names
