"""Several rewards over the same decoded images, and frames of clips."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from mmalign.errors import UserError
from mmalign.frames import score_clips
from mmalign.reward import Reward
from mmalign.scoring.decode import Decoded, reason

BATCHES = 8

Outcome = float | Exception
Units = Sequence[list[Decoded]]


class Panel:
    """Rewards that score together. What one of them cannot score is a row's error.

    Args:
        rewards: by title.
    """

    def __init__(self, rewards: Mapping[str, Reward]):
        self.rewards = rewards
        self._proven: set[str] = set()

    @property
    def at_once(self) -> int:
        """Images that are scored between two moves of the bar: some batches, of which the last may be small."""
        return BATCHES * max(reward.batch_size for reward in self.rewards.values())

    @property
    def joint(self) -> bool:
        """Whether a reward looks at all images of a prompt at once."""
        return any(reward.joint for reward in self.rewards.values())

    def score(self, group: list[Decoded]) -> list[dict[str, Any]]:
        """A row of the table for each image, in the given order; the images are let go.

        Raises:
            UserError: a reward can score none of its first images, though there are several.
        """
        rows = [{"index": each.index, "image": each.name, "prompt": each.prompt} for each in group]
        for title, reward in self.rewards.items():
            for row, value in zip(rows, self._column(title, reward, group), strict=True):
                row[title] = value
        for row, each in zip(rows, group, strict=True):
            row["error"] = "; ".join(dict.fromkeys(each.errors)) or None
            each.frames = ()
        return rows

    def _column(self, title: str, reward: Reward, group: list[Decoded]) -> list[float | None]:
        """One score per row, None where there is none, with the reason among the row's errors."""
        fit = [each for each in group if each.frames and (each.prompt is not None or not reward.needs_prompt)]
        outcomes = self._outcomes(title, reward, list(_units(fit, reward.joint)))
        values: list[float | None] = []
        for each in group:
            outcome = outcomes.get(each.index)
            values.append(outcome if isinstance(outcome, float) and math.isfinite(outcome) else None)
            if values[-1] is None and each.frames:
                each.errors += _why(title, outcome, each)
        return values

    def _outcomes(self, title: str, reward: Reward, units: Units) -> dict[int, Outcome]:
        outcomes = _tried(reward, units)
        failed = [outcome for outcome in outcomes.values() if isinstance(outcome, Exception)]
        if len(failed) > 1 and len(failed) == len(outcomes) and title not in self._proven:
            # it is the reward, or what it was told, and not the images
            raise UserError(f"{title} can score none of the first {len(failed)} images: {failed[0]}") from failed[0]
        if len(failed) < len(outcomes):
            self._proven.add(title)
        return outcomes


def _units(rows: list[Decoded], joint: bool) -> Iterator[list[Decoded]]:
    """What has to be scored in one call: a row, or all rows of a prompt, which stand side by side."""
    if not joint:
        yield from ([row] for row in rows)
        return
    for _, same in groupby(rows, key=lambda row: row.prompt):
        yield list(same)


def _tried(reward: Reward, units: Units) -> dict[int, Outcome]:
    """Scores by row, or what was raised; where a call fails, its halves are tried, until the failing rows are found."""
    rows = [row for unit in units for row in unit]
    if not rows:
        return {}
    try:
        scores = score_clips(reward, [row.frames for row in rows], _prompts(rows)).tolist()
    except (UserError, ValueError) as error:
        if len(units) == 1:
            return {row.index: error for row in rows}
        half = len(units) // 2
        return _tried(reward, units[:half]) | _tried(reward, units[half:])
    if len(scores) != len(rows):
        raise UserError(f"{type(reward).__name__} gave {len(scores)} scores for {len(rows)} images; it should give one for each")
    return {row.index: score for row, score in zip(rows, scores, strict=True)}


def _prompts(rows: list[Decoded]) -> list[str] | None:
    """The prompts for a reward; a reward that can do without them is told nothing where there are none at all."""
    return None if all(row.prompt is None for row in rows) else [row.prompt or "" for row in rows]


def _why(title: str, outcome: Outcome | None, row: Decoded) -> list[str]:
    if isinstance(outcome, Exception):
        return [f"{title}: {reason(outcome)}"]
    if outcome is not None:
        return [f"{title}: gave no score"]
    return [row.lacking]
