"""Clips under rewards of pictures: some frames of a clip are scored, and their mean is the clip's score."""

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from mmalign.config.frames import JUDGED
from mmalign.reward import Reward

Clips = Tensor | Sequence[Sequence[Image.Image]]
"""(N, F, 3, H, W) in [0, 1], or N lists of frames of any length; a picture is a clip of one frame."""


def evenly(items: Sequence, count: int) -> list:
    """The items in the middle of so many equal parts; all where there are no more.

    >>> evenly(range(8), 4)
    [1, 3, 5, 7]
    """
    if len(items) <= count:
        return list(items)
    return [items[(2 * part + 1) * len(items) // (2 * count)] for part in range(count)]


def judged(clips: Tensor, count: int = JUDGED) -> Tensor:
    """The frames of clips (N, F, 3, H, W) that are scored, (N, at most ``count``, 3, H, W); pictures (N, 3, H, W) as clips of one."""
    if clips.ndim == 4:
        return clips[:, None]
    return clips[:, evenly(range(clips.shape[1]), count)]


def score_clips(reward: Reward, clips: Clips, prompts: str | Sequence[str] | None = None) -> Tensor:
    """Scores (N,), float32: the mean of the scores that a reward of pictures gives to all frames of each clip.

    A reward that is a vote among the pictures of a prompt votes on the first frames of all clips, then on the second ones, and so on.

    Args:
        reward: the scorer of pictures.
        clips: those frames of them that are to be scored.
        prompts: as ``Reward.score`` takes them, one for each clip.

    Raises:
        ValueError: as ``Reward.score`` does, or a vote is asked for among clips that differ in their number of frames.
        UserError: as ``Reward.score`` does.
    """
    counts = [len(clip) for clip in clips]
    if not counts:
        return torch.zeros(0)
    if reward.joint and len(set(counts)) > 1:
        raise ValueError(f"a vote needs as many frames of each clip, and there are {min(counts)} to {max(counts)}")
    if reward.joint:
        rounds = [reward.score(_placed(clips, place), prompts) for place in range(counts[0])]
        return torch.stack(rounds).double().mean(0).float()
    if set(counts) == {1}:
        return reward.score(_placed(clips, 0), prompts)
    flat = clips.flatten(0, 1) if isinstance(clips, Tensor) else [frame for clip in clips for frame in clip]
    if not isinstance(prompts, str | None):
        prompts = [prompt for prompt, count in zip(prompts, counts, strict=True) for _ in range(count)]
    scores = reward.score(flat, prompts)
    # doubles hold the sum of equal floats exactly, so that a clip that stands still has the score of its frame
    return torch.stack([part.mean() for part in scores.double().split(counts)]).float()


def _placed(clips: Clips, place: int) -> Tensor | list[Image.Image]:
    """The frames at a place, of every clip."""
    return clips[:, place] if isinstance(clips, Tensor) else [clip[place] for clip in clips]


def said(count: int, all_have: bool = False) -> str:
    """How clips are judged, for people; ``all_have``: no clip has fewer frames."""
    if count == 1:
        return "a clip's score is that of its middle frame"
    shorter = "" if all_have else ", or all where it has fewer"
    return f"a clip's score is the mean over {count} evenly spaced frames{shorter}"
