"""Where the numbers go: a JSON-lines file in the output folder and accelerate's trackers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from mmalign.files import write_whole

METRICS_FILE = "metrics.jsonl"


EVENT = "event"
"""The key of a line that tells what the guard saw, in place of numbers."""
UNFINISHED = "unfinished"
"""The key of a line of a run that ended within a logging window: how much of it the means are of. A resume finishes the window."""


class RunLog:
    """Writes metrics on the main process.

    Args:
        accelerator: the run's accelerator, its trackers initialised.
        folder: the output folder.
        resumed_step: lines after this step are from a run that went on past its last checkpoint; they are dropped. None = a fresh start,
            which drops all.
        events: what the resumed run's guard has told.
    """

    def __init__(self, accelerator: Accelerator, folder: Path, resumed_step: int | None = None, events: Sequence[dict[str, Any]] = ()):
        self.accelerator = accelerator
        self.path = folder / METRICS_FILE
        self.go_back(-1 if resumed_step is None else resumed_step, events)

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """One line, and one point on each tracker."""
        self.accelerator.log(metrics, step=step)
        self._append({"step": step} | metrics)

    def tell(self, event: dict[str, Any]) -> None:
        """One line about what the guard saw, with the keys ``step`` and ``event``."""
        self._append(event)

    def leave(self, step: int, metrics: dict[str, float], taken: str) -> None:
        """One line with the means of a window that was not full, in the file alone."""
        self._append({"step": step} | metrics | {UNFINISHED: taken})

    def go_back(self, step: int, events: Sequence[dict[str, Any]]) -> None:
        """Drops the numbers after a step, unfinished windows, and all events but these."""
        if not self.accelerator.is_main_process:
            return
        known = [line for line in read_metrics(self.path) if UNFINISHED not in line]
        lines = [line for line in known if (line in events if EVENT in line else line["step"] <= step)]
        lines += [event for event in events if event not in lines]
        write_whole(self.path, "".join(json.dumps(line) + "\n" for line in lines).encode())

    def _append(self, line: dict[str, Any]) -> None:
        if self.accelerator.is_main_process:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def read_events(path: Path) -> list[dict[str, Any]]:
    """What the guard saw, in the order of the file."""
    return [line for line in read_metrics(path) if EVENT in line]


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file; a last line cut by a kill is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
