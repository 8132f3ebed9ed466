"""The logging windows of a run: full ones as they end, and the one that a stop or an error cuts short."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from mmalign.training.log import RunLog

if TYPE_CHECKING:
    from mmalign.training.loop import Run


@contextmanager
def unfinished_logged(run: "Run", log: RunLog) -> Iterator[None]:
    """Where the loop is left early, by a stop or an error, the numbers since the last window are logged too."""
    try:
        yield
    except BaseException:
        with suppress(RuntimeError, OSError):  # the device or the disk may be what failed
            if means := run.monitor.means():
                log.leave(run.step, means | whereabouts(run), f"{run.monitor.steps} of {run.config.logging_steps} steps")
        raise


def whereabouts(run: "Run") -> dict[str, float]:
    """What is logged beside the numbers of the steps."""
    rates = run.scheduler.get_last_lr()
    own = {} if run.apart is None else {f"learning_rate/{run.apart.name}": rates[-1]}
    return {"learning_rate": rates[0], **own, "epoch": run.step * run.plan.rows_per_step / run.plan.rows}


def report(run: "Run", log: RunLog) -> dict[str, str]:
    """Logs the window's means over all processes; returns the few that the progress bar shows."""
    metrics = run.monitor.window() | whereabouts(run)
    log.write(run.step, metrics)
    shown = {"loss": "loss", "rewards/margins": "margin", "implicit_acc": "acc"}
    return {short: f"{metrics[name]:.3f}" for name, short in shown.items() if name in metrics}
