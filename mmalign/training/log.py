"""Where the numbers go: a JSON-lines file in the output folder and accelerate's trackers."""

import json
from pathlib import Path

from accelerate import Accelerator

from mmalign.files import write_whole

METRICS_FILE = "metrics.jsonl"


class RunLog:
    """Writes metrics on the main process.

    Args:
        accelerator: the run's accelerator, its trackers initialised.
        folder: the output folder.
        resumed_step: lines after this step are from a run that went on past its last checkpoint; they are dropped. 0 = a fresh start,
            which drops all.
    """

    def __init__(self, accelerator: Accelerator, folder: Path, resumed_step: int = 0):
        self.accelerator = accelerator
        self.path = folder / METRICS_FILE
        if accelerator.is_main_process:
            kept = [line for line in read_metrics(self.path) if line["step"] <= resumed_step] if resumed_step else []
            write_whole(self.path, "".join(json.dumps(line) + "\n" for line in kept).encode())

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """One line, and one point on each tracker."""
        self.accelerator.log(metrics, step=step)
        if self.accelerator.is_main_process:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step} | metrics) + "\n")


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The lines of a metrics file; a last line cut by a kill is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
