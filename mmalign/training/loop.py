"""The loop. It knows neither images nor tokens: a policy prepares and answers, an objective compares, the loop steps."""

import shutil
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from tqdm.auto import tqdm

from mmalign.config import GuardConfig, TrainConfig
from mmalign.errors import UserError
from mmalign.objective import Objective, check_fit
from mmalign.policy import DenoisingPolicy, Policy, ScoringPolicy
from mmalign.training import checkpoint
from mmalign.training.chosen_stepping import chosen
from mmalign.training.guard import Guard
from mmalign.training.guard_actions import heed
from mmalign.training.interrupt import Interrupted, StopRequest
from mmalign.training.log import RunLog
from mmalign.training.metrics import Monitor, Reading, step_metrics
from mmalign.training.optimizer import Apart, effective_learning_rate, make_ema, make_optimizer, make_scheduler
from mmalign.training.order import BatchPlan, generator
from mmalign.training.sharded import SHARDS, Shards, is_sharded
from mmalign.training.trained import Trained, parameters
from mmalign.training.windows import report, unfinished_logged

WEIGHT = "weight"  # mean weight of the rows, among a step's sums

# a loss scale of 2**16 is 1 after 16 halvings
MOST_SKIPPED = 30


@dataclass
class Run:
    """Everything a run has. What must survive a kill is in ``state``; the rest is built anew from the configuration.

    ``round_steps`` is how many steps there are between two that draw with the model: what it has become is looked at before.
    ``sharded`` says that the module is split among the processes, or would be if there were several. ``apart`` are trained parameters with
    a learning rate of their own.
    """

    accelerator: Accelerator
    config: TrainConfig
    policy: Policy | ScoringPolicy
    objective: Objective
    trainable: Trained
    plan: BatchPlan
    output_dir: Path
    settings: dict[str, Any]
    step: int = 0
    skipped: int = 0
    round_steps: int | None = None
    sharded: bool = False
    apart: Apart | None = None
    guard: Guard = field(init=False)

    def __post_init__(self) -> None:
        check_fit(self.objective, self.policy)
        self.monitor = Monitor(partial(self.accelerator.reduce, reduction="mean"))
        self.watch_by(GuardConfig())
        self.denoising = isinstance(self.policy, DenoisingPolicy)
        self.parameters = parameters(self.policy.module)
        self.learning_rate = effective_learning_rate(self.config, self.plan.rows_per_step)
        if self.apart is not None:
            rate = effective_learning_rate(self.config, self.plan.rows_per_step, self.apart.rate)
            self.apart = replace(self.apart, rate=rate)
        optimizer = make_optimizer(self.parameters, self.config, self.learning_rate, self.apart)
        self.scheduler = make_scheduler(optimizer, self.config)
        self.ema = make_ema(self.parameters, self.config)
        self.stepping = chosen(self, optimizer)
        self.optimizer, self.policy.module = self.stepping.optimizer, self.stepping.module

    def watch_by(self, config: GuardConfig) -> None:
        """Starts the guard of the configuration, before anything is trained or put back."""
        self.guard = Guard(config, self.objective.needs_reference)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps beside the trained tensors. Draws and order need nothing: they follow from the step."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "scaler": None if self.accelerator.scaler is None else self.accelerator.scaler.state_dict(),
            "monitor": self.monitor.state(),
            "guard": self.guard.state(),
        }

    def save(self) -> Path:
        """A checkpoint of now, by the main process, after the last numbers were looked at."""
        path = self.output_dir / f"{checkpoint.PREFIX}{self.step}"
        trained, state = (self.trainable, self.state()) if not self.sharded else self.parted(path)
        if self.accelerator.is_main_process:
            checkpoint.save(self.output_dir, checkpoint.Progress(self.step, self.settings), trained, state)
            kept = self.guard.kept(checkpoint.steps(self.output_dir), self.step)
            checkpoint.prune(self.output_dir, self.config.checkpoints_total_limit, kept)
        self.accelerator.wait_for_everyone()
        return path

    @property
    def shards(self) -> Shards:
        """What of the run is split among the processes."""
        return Shards(self.trainable.module, self.optimizer, [] if self.ema is None else self.ema.shadow_params)

    def parted(self, path: Path) -> tuple[Shards, dict[str, Any]]:
        """The parts of a checkpoint, written aside by all processes, and the rest of its state."""
        aside, shards, state = path.with_name(f".{path.name}.shards.tmp"), self.shards, self.state()
        if self.accelerator.is_main_process:
            shutil.rmtree(aside, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        shards.write(aside)
        averages = None if self.ema is None else state["ema"] | {"shadow_params": []}
        return shards, state | {"optimizer": state["optimizer"] | {"state": {}}, "ema": averages}

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside it, the averaged weights are in place, where there are any."""
        if self.ema is None:
            yield
            return
        self.ema.store(self.parameters)
        self.ema.copy_to(self.parameters)
        try:
            yield
        finally:
            self.ema.restore(self.parameters)

    def skip(self) -> None:
        """Counts a step that the loss scale of fp16 skipped. Raises UserError after too many in a row."""
        self.skipped += 1
        if self.skipped == MOST_SKIPPED:
            raise UserError(f"fp16 overflowed in {MOST_SKIPPED} steps in a row, up to step {self.step + 1}; use train.mixed_precision bf16")

    def resume(self) -> bool:
        """Goes back to the checkpoint that the configuration names; False where it names none, or there is none yet."""
        path = checkpoint.find(self.output_dir, self.config.resume_from_checkpoint)
        if path is not None:
            self.restore(path)
        return path is not None

    def restore(self, path: Path) -> None:
        """Puts everything back as it was at a checkpoint. Raises UserError where it is damaged or another run's."""
        shards = self.shards if (path / SHARDS).is_dir() else None
        if shards is None and is_sharded(self.trainable.module):
            raise UserError(f"the checkpoint {path} is of a run whose model was not split; set speed.shard false to resume it")
        self.step, state = checkpoint.load(path, self.settings, shards or self.trainable)
        if shards is not None:
            state["optimizer"]["state"] = shards.optimizer_state
            state["ema"] = state["ema"] and state["ema"] | {"shadow_params": shards.averages}
        self.skipped = 0
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
            self.ema.to(self.accelerator.device)
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.monitor.load(state["monitor"], self.accelerator.device)
        self.guard.load(state["guard"])

    def multiply_rate(self, factor: float) -> None:
        """Multiplies the learning rate of now, and so that of all later steps, in what checkpoints keep too."""
        for group in self.optimizer.param_groups:
            group["lr"] *= factor
            group["initial_lr"] *= factor
        self.scheduler.base_lrs = [rate * factor for rate in self.scheduler.base_lrs]
        self.scheduler._last_lr = [rate * factor for rate in self.scheduler.get_last_lr()]


def fit(run: Run, batches: Callable[[int], Iterator[Any]], log: RunLog, after_step: Callable[[int], None] = lambda step: None) -> None:
    """Trains up to ``max_train_steps``.

    Args:
        run: the run, resumed if it should be.
        batches: gives this process's micro-batches from a step on, in the plan's order; asked again where the guard goes back.
        log: where the numbers go.
        after_step: called with the number of finished steps, for validation.

    Raises:
        UserError: the guard stopped the run, or a checkpoint cannot be written.
        Interrupted: asked to stop by a signal; a checkpoint was written.
    """
    config, accelerator = run.config, run.accelerator
    stream = batches(run.step)
    bar = tqdm(total=config.max_train_steps, initial=run.step, desc="training", disable=not accelerator.is_main_process)
    with StopRequest() as stop, bar, unfinished_logged(run, log):
        while run.step < config.max_train_steps:
            metrics, origins = train_step(run, stream)
            run.step += 1
            last = run.step == config.max_train_steps
            stopped = agreed(accelerator, stop.asked) and not last
            logged = last or run.step % config.logging_steps == 0
            saved = last or stopped or run.step % config.checkpointing_steps == 0

            draws = run.round_steps is not None and run.step % run.round_steps == 0
            readings = [run.monitor.push(run.step, metrics, origins), run.monitor.flush() if logged or saved or draws else None]
            if went_back(run, log, readings):
                stream = afresh(stream, batches, run.step)
                bar.update(run.step - bar.n)
                continue
            if logged:
                bar.set_postfix(report(run, log))
            after_step(run.step)
            bar.update()

            path = run.save() if saved else None
            if stopped:
                raise Interrupted(f"stopped at step {run.step}; saved {path}; go on with --train.resume-from-checkpoint latest")


def went_back(run: Run, log: RunLog, readings: Iterable[Reading | None]) -> bool:
    """Shows the guard what has arrived, and does about it what is configured; True where the run is at an earlier step now."""
    return any(heed(run, log, finding) for reading in readings if reading is not None for finding in run.guard.see(reading))


def afresh(stream: Iterator[Any], batches: Callable[[int], Iterator[Any]], step: int) -> Iterator[Any]:
    """The batches from another step on, in place of those of a stream, whose readers are let go."""
    if isinstance(stream, Generator):
        stream.close()
    return batches(step)


def train_step(run: Run, batches: Iterator[Any]) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """One optimizer step over its micro-batches: the mean of their metrics, and where their rows came from."""
    accumulation, stepping = run.plan.accumulation, run.stepping
    total: dict[str, torch.Tensor] = {}
    origins: tuple[str, ...] = ()
    for micro in range(accumulation):
        batch = next(batches)
        origins += batch.origins
        inputs = run.policy.prepare(batch.to(run.accelerator.device), [generator(run.plan.seed, "draw", p) for p in batch.positions])
        with stepping.part(last=micro == accumulation - 1):
            output = run.objective(run.policy, inputs)
            weights = batch.weights.to(output.loss.device)
            stepping.backward((output.loss * weights).mean() / accumulation)
        for name, value in {**step_metrics(output, weights, run.denoising), WEIGHT: weights.mean()}.items():
            total[name] = total.get(name, 0) + value / accumulation
    normalize(run, total)
    total["grad_norm"] = stepping.step(run.config.max_grad_norm)
    if run.optimizer.step_was_skipped:
        # fp16's loss scale overflowed and was halved, as it should be: nothing moved
        total["grad_norm"] = torch.zeros_like(total["grad_norm"])
        run.skip()
        return total, origins
    run.skipped = 0
    run.trainable.constrain()
    run.scheduler.step()
    if run.ema is not None:
        run.ema.step(run.parameters)
    return total, origins


def normalize(run: Run, total: dict[str, torch.Tensor]) -> None:
    """Divides gradients and loss by the mean weight of the rows over all processes, where the method asks for it.

    What a row counts then does not depend on how the rows of a step are dealt to micro-batches and processes.
    """
    weight = total.pop(WEIGHT)
    if not run.objective.normalized:
        return
    share = 1 / run.accelerator.reduce(weight.float(), reduction="mean")
    total["loss"] = total["loss"] * share
    torch._foreach_mul_([parameter.grad for parameter in run.parameters if parameter.grad is not None], share)


def agreed(accelerator: Accelerator, asked: bool) -> bool:
    """Whether any process was asked to stop: all must leave the loop at the same step."""
    if accelerator.num_processes == 1:
        return asked
    flag = torch.tensor(float(asked), device=accelerator.device)
    return bool(accelerator.reduce(flag, reduction="sum").item())
