"""The tables of `vlm_shapes.py` from its cells.

The unit of chance is the question: its outcome is the mean over the seeds there are, and intervals resample questions.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from mmalign.evaluation.statistics import Interval, interval, ratio_difference, ratio_interval

Cell = Mapping[str, Any]
MULTI = ("base", "dpo_one", "mia_dpo")
CLIPS = ("base", "dpo", "rrpo")
NOTE = "The same margin is {:.2f} nats, the smallest that all runs reach; KL between two checkpoints is interpolated."
NAMES = {"base": "base", "dpo_one": "DPO, one picture", "mia_dpo": "MIA-DPO", "dpo": "DPO", "rrpo": "RRPO"}


def cells_in(folder: Path, split: str) -> dict[str, list[Cell]]:
    """The finished cells of a folder, by method."""
    found: dict[str, list[Cell]] = {}
    for path in sorted(folder.glob(f"{split}-*.json")):
        cell = json.loads(path.read_text(encoding="utf-8"))
        found.setdefault(cell["method"], []).append(cell)
    return found


def table(cells: Mapping[str, Sequence[Cell]]) -> str:
    """Markdown: several pictures, then clips."""
    if "base" not in cells:
        return "there is no base yet"
    parts = [_several(cells), _clips(cells)]
    return "\n\n".join(part for part in parts if part)


def _several(cells: Mapping[str, Sequence[Cell]]) -> str:
    heads = ("method", "seeds", "one picture, % right", "one of 2 to 5, % right", "minus base", "minus DPO on one", "of 2 / 3 / 4 / 5")
    rows = []
    for name in (name for name in MULTI if name in cells):
        several = _mean(cells[name], "named")
        pairs = {other: _mean(cells[other], "named") for other in ("base", "dpo_one") if other in cells and other != name != "base"}
        changes = [_points(interval(several - pairs[other])) if other in pairs else "" for other in ("base", "dpo_one")]
        rows.append([NAMES[name], str(len(cells[name])), _one(cells, name), _percent(interval(several)), *changes, _by_count(cells[name])])
    return _markdown(heads, rows)


def _one(cells: Mapping[str, Sequence[Cell]], name: str) -> str:
    one = _mean(cells[name], "one")
    said = _percent(interval(one))
    return said if name == "base" else f"{said}; {_points(interval(one - _mean(cells['base'], 'one')))}"


def _by_count(cells: Sequence[Cell]) -> str:
    groups, right = np.array(cells[0]["sets"]["named"]), _mean(cells, "named")
    return " / ".join(f"{100 * right[groups == str(count)].mean():.0f}" for count in (2, 3, 4, 5))


def _clips(cells: Mapping[str, Sequence[Cell]]) -> str:
    said = ("false claims, %", "minus base", "descriptions right, %", "other questions right, %")
    heads = ("method", "seeds", *said, "margin", "KL", "KL at the same margin")
    shared, names = _shared_margin(cells), [name for name in CLIPS if name in cells]
    if len(names) < 2:
        return ""
    rows = []
    for name in names:
        claims, false = _claims(cells[name])
        base_claims, base_false = _claims(cells["base"])
        change = "" if name == "base" else _points(ratio_difference((base_false, base_claims), (false, claims)))
        types = np.array(cells[name][0]["sets"]["clips"])
        told, asked = (interval(_mean(cells[name], "clips")[mask]) for mask in (types == "clip", types != "clip"))
        ends = [cell["drift"][-1] for cell in cells[name] if cell["drift"]]
        last = [f"{np.mean([end[key] for end in ends]):.2f}" for key in ("margin", "kl")] if ends else ["", ""]
        rows.append(
            [
                NAMES[name],
                str(len(cells[name])),
                _percent(ratio_interval(false, claims)),
                change,
                _percent(told),
                _percent(asked),
                *last,
                _at(cells[name], shared),
            ]
        )
    note = "" if shared is None else f"\n\n{NOTE.format(shared)}"
    return _markdown(heads, rows) + note


def _shared_margin(cells: Mapping[str, Sequence[Cell]]) -> float | None:
    tops = [max(point["margin"] for point in cell["drift"]) for name in CLIPS for cell in cells.get(name, ()) if cell["drift"]]
    return min(tops) if tops else None


def _at(cells: Sequence[Cell], margin: float | None) -> str:
    """Divergence where a run first has this margin: mean and extremes over seeds."""
    found = [kl_at(cell["drift"], margin) for cell in cells if cell["drift"] and margin is not None]
    return f"{np.mean(found):.3f} ({min(found):.3f} to {max(found):.3f})" if found else ""


def kl_at(drift: Sequence[Mapping[str, float]], margin: float) -> float:
    """The divergence where a run first reaches a margin, linear between two measurements."""
    for before, after in pairwise(drift):
        if before["margin"] < margin <= after["margin"]:
            share = (margin - before["margin"]) / (after["margin"] - before["margin"])
            return before["kl"] + share * (after["kl"] - before["kl"])
    return drift[0]["kl"] if margin <= drift[0]["margin"] else drift[-1]["kl"]


def _mean(cells: Sequence[Cell], name: str) -> np.ndarray:
    return np.mean([cell["right"][name] for cell in cells], axis=0)


def _claims(cells: Sequence[Cell]) -> tuple[np.ndarray, np.ndarray]:
    """Claims and false ones of each description, means over seeds."""
    table = np.mean([cell["claims"] for cell in cells], axis=0)
    return table[:, 0], table[:, 1]


def _percent(share: Interval) -> str:
    return f"{100 * share.value:.1f} ({100 * share.low:.1f} to {100 * share.high:.1f})"


def _points(change: Interval) -> str:
    return f"{100 * change.value:+.1f} ({100 * change.low:+.1f} to {100 * change.high:+.1f})"


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows))
