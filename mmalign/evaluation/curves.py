"""The training log as series over steps."""

import json
import math
from pathlib import Path

from mmalign.errors import UserError

Series = dict[str, tuple[list[int], list[float]]]


def read_metrics(path: str | Path) -> Series:
    """Name -> steps and values, from a ``metrics.jsonl`` of objects with ``step``; of a step logged twice the later row counts.

    Values that are not finite numbers are left out.

    Raises:
        UserError: the file is missing or a line is broken; the message names the line.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise UserError(f"cannot read the training log {path}: {error.strerror}; check the path or leave it out") from error
    found: dict[str, dict[int, float]] = {}
    for position, line in enumerate(lines, 1):
        row = _row(f"{path}, line {position}", line) if line.strip() else {}
        for name, value in row.items():
            if name != "step" and isinstance(value, int | float) and math.isfinite(value):
                found.setdefault(name, {})[row["step"]] = float(value)
    return {name: (sorted(values), [values[step] for step in sorted(values)]) for name, values in found.items()}


def _row(origin: str, line: str) -> dict:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{origin} is not JSON ({error.msg}); remove the line") from error
    if not isinstance(row, dict) or not isinstance(row.get("step"), int):
        raise UserError(f"{origin} has no whole number under 'step'; remove the line")
    return row
