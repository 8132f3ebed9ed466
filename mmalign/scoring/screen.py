"""What a terminal shows of a table of scores."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmalign.reward import Reward

WIDTH = 40
"""Characters of a name or a prompt."""
NAMED = 3
FIRST = 5
ALL = 20
"""Rows that are all shown where there is no file with them."""


def told(table: pa.Table, rewards: Mapping[str, Reward], found: str, everything: bool) -> str:
    """What was found, the scores in sum, what failed, and the first rows.

    Args:
        table: the scores.
        rewards: by title.
        found: what was scored.
        everything: show a longer beginning of the rows, as they are written nowhere.
    """
    parts = [found, summary(table, rewards), failures(table), first_rows(table, list(rewards), ALL if everything else FIRST)]
    return "\n\n".join(part for part in parts if part)


def summary(table: pa.Table, rewards: Mapping[str, Reward]) -> str:
    """A line per reward: how many scores, mean, standard deviation (of n - 1), least, middle, greatest, unit."""
    head = ["reward", "n", "mean", "std", "min", "median", "max", "unit"]
    rows = [[title, *_statistics(table.column(title)), _unit(reward)] for title, reward in rewards.items()]
    return aligned([head, *rows], left=(0, len(head) - 1), ruled=True)


def failures(table: pa.Table) -> str:
    """How many rows have an error, and the first of them; nothing where there are none."""
    failed = table.filter(pc.is_valid(table.column("error")))
    if not len(failed):
        return ""
    named = failed.slice(0, NAMED).select(["image", "error"]).to_pylist()
    lines = [f"  {row['error']}" if row["image"] in row["error"] else f"  {row['image']}: {row['error']}" for row in named]
    more = [f"  and {len(failed) - NAMED:,} more"] if len(failed) > NAMED else []
    return "\n".join([f"errors in {len(failed):,} of {len(table):,} rows:", *lines, *more])


def first_rows(table: pa.Table, titles: Sequence[str], count: int) -> str:
    """The first rows with their scores, and how many more there are."""
    with_prompts = table.column("prompt").null_count < len(table)
    texts = ["image", "prompt"] if with_prompts else ["image"]
    rows = [
        [*(_cut(row[name], end=name == "prompt") for name in texts), *(_number(row[title]) for title in titles)]
        for row in table.slice(0, count).to_pylist()
    ]
    more = [f"and {len(table) - count:,} more"] if len(table) > count else []
    return "\n".join([aligned([[*texts, *titles], *rows], left=range(len(texts)), ruled=True), *more])


def aligned(rows: Sequence[Sequence[str]], left: Sequence[int], ruled: bool = False) -> str:
    """Columns side by side, numbers to the right, those in ``left`` to the left; with a rule below the head where asked for."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) if k in left else cell.rjust(width) for k, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    if ruled:
        lines.insert(1, "-" * len(lines[0]))
    return "\n".join(line.rstrip() for line in lines)


def _statistics(column: pa.ChunkedArray) -> list[str]:
    values = column.drop_null().to_numpy().astype(np.float64)
    if not len(values):
        return ["0", *["-"] * 5]
    spread = values.std(ddof=1) if len(values) > 1 else None
    return [f"{len(values):,}", *map(_number, (values.mean(), spread, values.min(), np.median(values), values.max()))]


def _unit(reward: Reward) -> str:
    return reward.unit if reward.higher_is_better else f"{reward.unit}, lower is better"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _cut(text: str | None, end: bool) -> str:
    """One line of a text, its end or its beginning left out: of a path the end tells."""
    line = " ".join((text or "-").split())
    if len(line) <= WIDTH:
        return line
    return f"{line[: WIDTH - 3]}..." if end else f"...{line[3 - WIDTH :]}"
