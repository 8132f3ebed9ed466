"""How different the images of one prompt are from one another."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from mmalign.evaluation.clips import flattened
from mmalign.evaluation.result import Diversity
from mmalign.evaluation.sampling import Request
from mmalign.evaluation.statistics import interval

SIDE = 64
METRIC = f"mean pairwise root-mean-square pixel difference (range 0 to 1) between images of one prompt, reduced to at most {SIDE} px"


def thumbnails(images: Tensor) -> np.ndarray:
    """Images (N, 3, H, W) averaged down to at most 64 px a side, so that diversity does not depend on resolution; frames of clips alike."""
    height, width = images.shape[-2:]
    scale = min(1.0, SIDE / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    flat, frames = flattened(images)
    small = F.interpolate(flat.float(), size=size, mode="area")
    return (small if images.ndim == 4 else small.unflatten(0, (-1, frames))).numpy()


def pairwise(images: np.ndarray) -> float:
    """Mean root-mean-square difference over all pairs of (D, 3, H, W), D >= 2, or of clips (D, F, 3, H, W), frame by frame."""
    first, second = np.triu_indices(len(images), k=1)
    return float(np.sqrt(((images[first] - images[second]) ** 2).mean(axis=tuple(range(1, images.ndim)))).mean())


def compare(
    base: Mapping[Request, np.ndarray], aligned: Mapping[Request, np.ndarray], prompts: Sequence[int], draws: int, **bootstrap
) -> Diversity:
    """Diversity of both sides over some prompts with the same ``draws`` of each."""
    values = {}
    for name, kept in (("base", base), ("aligned", aligned)):
        values[name] = np.array([pairwise(np.stack([kept[Request(p, d)] for d in range(draws)])) for p in prompts])
    return Diversity(
        metric=METRIC,
        base=interval(values["base"], **bootstrap),
        aligned=interval(values["aligned"], **bootstrap),
        difference=interval(values["aligned"] - values["base"], **bootstrap),
        prompts=len(prompts),
        images_per_prompt=draws,
    )
