"""The pictures drawn for one prompt: what the rewards say of them, and which of them make a pair or a ranking."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mmalign.errors import UserError
from mmalign.frames import JUDGED, judged, score_clips
from mmalign.reward import Reward


@dataclass(frozen=True)
class Label:
    """A reward's part in the label.

    Attributes:
        reward: the scorer.
        weight: the label is the sum of weight times score.
        never_worse: a pair is kept only where its preferred picture scores at least as high under this reward as the other one.
    """

    reward: Reward
    weight: float = 1.0
    never_worse: bool = False


def scored(pictures: Tensor, prompt: str, labels: Mapping[str, Label], frames: int = JUDGED) -> Tensor:
    """Scores (k, number of rewards) of a prompt's pictures (k, 3, H, W) uint8, all in one call, since a reward may be a vote among them.

    Args:
        pictures: clips too, (k, F, 3, H, W).
        prompt: of all.
        labels: the rewards by title.
        frames: of a clip, how many are scored; see ``mmalign.frames``.

    Raises:
        UserError: a reward refuses the pictures.
    """
    scores = []
    for title, label in labels.items():
        try:
            scores.append(score_clips(label.reward, judged(pictures, frames).float() / 255, prompt))
        except ValueError as error:
            raise UserError(f"{title} cannot score pictures of the prompt {prompt!r}: {error}") from error
    return torch.stack(scores, dim=-1)


def weighted(scores: Tensor, labels: Mapping[str, Label]) -> Tensor:
    """The label (k,) of scores (k, number of rewards)."""
    return scores @ torch.tensor([label.weight for label in labels.values()])


def best_and_worst(scores: Tensor, labels: Mapping[str, Label], min_gap: float) -> tuple[int, int] | None:
    """The two pictures with the largest gap in the label among those that the vetoes allow, pictures without a score left out.

    Args:
        scores: (k, number of rewards); not a number where a picture has none.
        min_gap: a gap of this or less gives None.
    """
    vetoes = torch.tensor([label.never_worse for label in labels.values()])
    worse = (scores[:, None] < scores[None, :]) & vetoes
    return widest(weighted(scores, labels), worse.any(-1), min_gap)


def widest(total: Tensor, against: Tensor, min_gap: float) -> tuple[int, int] | None:
    """The two pictures (better, worse) with the largest gap in the label, of equal ones the first.

    Args:
        total: the label (k,); not a number where a picture has none, which is then in no pair.
        against: (k, k), the pairs that must not be taken.
        min_gap: a gap of this or less gives None.
    """
    gap = total[:, None] - total[None, :]
    gap = gap.masked_fill(against | gap.isnan(), -torch.inf)
    best, worst = divmod(int(gap.argmax()), len(total))
    return (best, worst) if gap[best, worst] > min_gap else None


def ranked(scores: Tensor, labels: Mapping[str, Label], min_gap: float) -> tuple[int, ...] | None:
    """The pictures by their label, the best first, those without a score left out; equal ones in the order they were drawn in.

    None where fewer than two have a score, or the best is better than the worst by ``min_gap`` or less.
    """
    total = weighted(scores, labels)
    order = [int(place) for place in total.argsort(descending=True, stable=True) if not total[place].isnan()]
    return tuple(order) if len(order) > 1 and total[order[0]] - total[order[-1]] > min_gap else None
