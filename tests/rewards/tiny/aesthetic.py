"""The second version's head, layers and dropouts as published, on a tiny CLIP."""

from itertools import pairwise
from pathlib import Path

import torch

from tests.scorers.clips import OPEN_CLIP_ARCH, open_clip

WIDTHS = (OPEN_CLIP_ARCH["embed_dim"], 1024, 128, 64, 16, 1)


def head(places: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """Random layers at these places of the published Sequential; ratings are about 5."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for place, (wide, narrow) in zip(places, pairwise(WIDTHS), strict=True):
        tensors[f"layers.{place}.weight"] = torch.randn(narrow, wide, generator=generator) * 1.5 / wide**0.5
        tensors[f"layers.{place}.bias"] = 0.1 * torch.randn(narrow, generator=generator)
    tensors[f"layers.{places[-1]}.bias"] += 5
    return tensors


def fields(folder: Path) -> dict:
    open_clip(folder / "backbone")
    torch.save(head((0, 2, 4, 6, 7)), folder / "head.pth")
    return {"pretrained": str(folder / "head.pth"), "backbone": str(folder / "backbone")}
