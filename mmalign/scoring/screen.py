"""What a terminal shows of a table of scores, in its width."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmalign.reward import Reward
from mmalign.scoring.terminal import GAP, aligned, cut, plain, width_of

TEXT = 40
"""Columns of the screen that a name or a prompt takes at most."""
NARROW = 16
"""What is left to one at least."""
NAMED = 3
FIRST = 5
ALL = 20
"""Rows that are all shown where there is no file with them."""


def told(table: pa.Table, rewards: Mapping[str, Reward], found: str, everything: bool, width: int | None = None) -> str:
    """What was found, the scores in sum, what failed, and the first rows.

    Args:
        table: the scores.
        rewards: by title.
        found: what was scored.
        everything: show a longer beginning of the rows, as they are written nowhere.
        width: columns of the screen; None = those of the terminal, 80 where there is none.
    """
    width = width or shutil.get_terminal_size().columns
    shown = first_rows(table, list(rewards), ALL if everything else FIRST, width)
    parts = [found, summary(table, rewards, width), alone(table, rewards), failures(table), shown]
    return "\n\n".join(part for part in parts if part)


def summary(table: pa.Table, rewards: Mapping[str, Reward], width: int) -> str:
    """A line per reward: how many scores, mean, standard deviation (of n - 1), least, middle, greatest, unit; units below if too wide."""
    head = ["reward", "n", "mean", "std", "min", "median", "max", "unit"]
    rows = [[title, *_statistics(table.column(title)), _unit(reward)] for title, reward in rewards.items()]
    lines = aligned([head, *rows], left=(0, len(head) - 1))
    if max(map(width_of, lines)) <= width:
        return "\n".join(lines)
    lines = aligned([row[:-1] for row in (head, *rows)], left=(0,))
    return "\n".join([*lines, "", "units:", *(f"  {row[0]}: {row[-1]}" for row in rows)])


def alone(table: pa.Table, rewards: Mapping[str, Reward]) -> str:
    """A remark where a vote among the images of a prompt had no prompt with two of them."""
    votes = [title for title, reward in rewards.items() if reward.joint]
    prompts = table.column("prompt")
    if not votes or pc.count_distinct(prompts, mode="all").as_py() < len(prompts):
        return ""
    return f"{', '.join(votes)}: a vote among the images of one prompt, and no prompt has two; such scores say nothing"


def failures(table: pa.Table) -> str:
    """How many rows have an error, and the first of them; nothing where there are none."""
    failed = table.filter(pc.is_valid(table.column("error")))
    if not len(failed):
        return ""
    named = failed.slice(0, NAMED).select(["image", "error"]).to_pylist()
    lines = [row["error"] if row["image"] in row["error"] else f"{row['image']}: {row['error']}" for row in named]
    more = [f"  and {len(failed) - NAMED:,} more"] if len(failed) > NAMED else []
    return "\n".join([f"errors in {len(failed):,} of {len(table):,} rows:", *(f"  {plain(line)}" for line in lines), *more])


def first_rows(table: pa.Table, titles: Sequence[str], count: int, width: int) -> str:
    """The first rows with their scores, in tables below each other where one is too wide, and how many more rows there are."""
    rows = table.slice(0, count).to_pylist()
    texts = ["image", "prompt"] if table.column("prompt").null_count < len(table) else ["image"]
    scores = {title: [title, *(_number(row[title]) for row in rows)] for title in titles}
    sizes = {title: GAP + max(map(width_of, cells)) for title, cells in scores.items()}
    parts = list(_side_by_side(sizes, width - NARROW))
    named = _named(rows, texts, width - max(sum(sizes[title] for title in part) for part in parts))
    blocks = [zip(*named, *(scores[title] for title in part), strict=True) for part in parts]
    tables = ["\n".join(aligned(list(cells), left=range(len(named)))) for cells in blocks]
    more = [f"and {len(table) - count:,} more"] if len(table) > count else []
    return "\n".join(["\n\n".join(tables), *more])


def _side_by_side(sizes: Mapping[str, int], room: int) -> Iterator[list[str]]:
    """Neighbors that have room together; one has in any case."""
    part: list[str] = []
    for title, size in sizes.items():
        if part and sum(sizes[other] for other in part) + size > room:
            yield part
            part = []
        part.append(title)
    yield part


def _named(rows: Sequence[Mapping[str, Any]], texts: Sequence[str], room: int) -> list[list[str]]:
    """Names and prompts of rows below their head, cut to the room there is; prompts are left out where there is too little."""
    wanted = {text: min(TEXT, max(map(width_of, [text, *(plain(row[text] or "-") for row in rows)]))) for text in texts}
    if len(texts) == 1 or room < 2 * NARROW + GAP:
        sizes = {"image": min(wanted["image"], max(NARROW, room))}
    else:
        image = min(wanted["image"], max((room - GAP) // 2, room - GAP - wanted["prompt"]))
        sizes = {"image": image, "prompt": min(wanted["prompt"], room - GAP - image)}
    return [[text, *(cut(row[text] or "-", size, end=text == "prompt") for row in rows)] for text, size in sizes.items()]


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
