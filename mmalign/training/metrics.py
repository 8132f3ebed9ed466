"""The numbers of a step, in TRL's names, averaged over the logging window without waiting for the device."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from mmalign.objective import LossOutput


@torch.no_grad()
def step_metrics(output: LossOutput, weights: Tensor, denoising: bool = False) -> dict[str, Tensor]:
    """Scalars of one micro-batch: TRL's names, and diffusers' ``implicit_acc``, in which ties count half.

    The loss is the weighted one that is optimized. With more than two candidates ``rejected`` is the mean of all but the first, and
    accuracies are over neighbors in the ranking. What is not a number stands where a row has fewer candidates than others. Of single
    candidates the preferred are ``chosen`` and the others ``rejected``.

    Args:
        denoising: whether log-likelihoods are minus half of mean squared errors, which are then logged too.
    """
    rewards = output.implicit_rewards.float()
    apart = sides if output.preferred is None else partial(sides_of_singles, preferred=output.preferred)
    metrics = {"loss": (output.loss * weights).detach().float().mean()} | apart("rewards", rewards)
    if rewards.shape[1] > 1:
        gap = rewards[:, :-1] - rewards[:, 1:]
        pairs = (~gap.isnan()).sum()
        metrics["rewards/margins"] = metrics["rewards/chosen"] - metrics["rewards/rejected"]
        metrics["rewards/accuracies"] = (gap > 0).sum() / pairs
        metrics["implicit_acc"] = ((gap > 0).sum() + 0.5 * (gap == 0).sum()) / pairs
    if output.logps is not None:
        metrics |= apart("logps", output.logps)
    for name, logps in (("errors", output.logps), ("ref_errors", output.ref_logps)):
        if denoising and logps is not None:
            metrics |= apart(name, -2 * logps)
    return metrics | {name: value.float().mean() for name, value in output.extras.items()}


def sides(name: str, values: Tensor) -> dict[str, Tensor]:
    """Means of the first candidates and, where there are more, of the rest, of values (B, K)."""
    means = {f"{name}/chosen": values[:, 0].float().mean()}
    return means if values.shape[1] == 1 else means | {f"{name}/rejected": values[:, 1:].float().nanmean()}


def sides_of_singles(name: str, values: Tensor, preferred: Tensor) -> dict[str, Tensor]:
    """Means over the rows of values (B, 1) that are preferred, and over the others; 0 where there are none of a kind."""
    kinds = {"chosen": preferred, "rejected": ~preferred}
    return {f"{name}/{kind}": values[:, 0].float().where(rows, 0.0).sum() / rows.sum().clamp_min(1) for kind, rows in kinds.items()}


@dataclass(frozen=True)
class Reading:
    """The numbers of one step, means over all processes.

    Attributes:
        step: from 1 on.
        numbers: by name.
        origins: where this process's rows of the step came from.
    """

    step: int
    numbers: dict[str, float]
    origins: tuple[str, ...]


@dataclass(frozen=True)
class _Sent:
    """A step's numbers on their way from the device."""

    step: int
    names: tuple[str, ...]
    values: Tensor
    origins: tuple[str, ...]
    arrived: torch.cuda.Event | None

    def read(self) -> Reading:
        if self.arrived is not None:
            self.arrived.synchronize()
        return Reading(self.step, dict(zip(self.names, self.values.tolist(), strict=True)), self.origins)


class Monitor:
    """Sums metrics over a window, and hands the numbers of each step on, a step late.

    They are copied without waiting and read when the next step is on its way, which costs no synchronization; ``flush`` reads at once.

    Args:
        reduce: means over all processes of a tensor on the device. What is read is the same everywhere, so that all decide alike.
    """

    def __init__(self, reduce: Callable[[Tensor], Tensor] = lambda values: values) -> None:
        self.reduce = reduce
        self.names: tuple[str, ...] = ()
        self.sums: Tensor | None = None
        self.steps = 0
        self._pending: _Sent | None = None

    def push(self, step: int, metrics: dict[str, Tensor], origins: tuple[str, ...]) -> Reading | None:
        """Takes the numbers of a finished step (counted from 1); gives those of the step before, unless they were read already."""
        values = self.reduce(torch.stack([value.double() for value in metrics.values()]))
        self.names = tuple(metrics)
        self.sums = values if self.sums is None else self.sums + values
        self.steps += 1
        before = self.flush()
        arrived = None
        if values.is_cuda:
            values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(values, non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record()
        self._pending = _Sent(step, self.names, values, origins, arrived)
        return before

    def flush(self) -> Reading | None:
        """The numbers of the last step, unless they were read already; it waits for the device."""
        sent, self._pending = self._pending, None
        return None if sent is None else sent.read()

    def means(self) -> dict[str, float]:
        """The means since the last window, by name; none where no step was."""
        return {} if self.sums is None else dict(zip(self.names, (self.sums / self.steps).tolist(), strict=True))

    def window(self) -> dict[str, float]:
        """The means since the last window, by name, of which a new one begins."""
        means = self.means()
        self.sums, self.steps = None, 0
        return means

    def state(self) -> dict:
        """What a checkpoint keeps, so that a resumed run logs the same numbers. All steps have been read."""
        return {"names": list(self.names), "sums": None if self.sums is None else self.sums.cpu(), "steps": self.steps}

    def load(self, state: dict, device: torch.device) -> None:
        """Puts a saved window back, and forgets a step that has not been read."""
        self.names, self.steps, self._pending = tuple(state["names"]), state["steps"], None
        self.sums = None if state["sums"] is None else state["sums"].to(device)
