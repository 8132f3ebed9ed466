"""What a scorer promises."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmalign.images import open_image

Images = Tensor | Sequence[Image.Image | str | Path]


class Reward(ABC):
    """A scorer of images, higher is better, in the units it was published with.

    Rescaling, weighting and voting belong to the caller and are written in the configuration, never hidden in a scorer.
    The class attributes are facts that the tests check and that ``mmalign list rewards`` prints.
    """

    needs_prompt: ClassVar[bool]
    differentiable: ClassVar[bool]
    range: ClassVar[tuple[float, float]]
    unit: ClassVar[str]
    licence: ClassVar[str]
    source: ClassVar[str]
    all_right_at_best: ClassVar[bool] = False  # the upper end of the range means that everything asked for is there

    @torch.no_grad()
    def score(self, images: Images, prompts: Sequence[str] | None = None) -> Tensor:
        """Scores of shape (B,), float32.

        Args:
            images: a tensor (B, 3, H, W) in [0, 1], or B PIL images or paths.
            prompts: B prompts, or one prompt for all; may be left out where ``needs_prompt`` is false.

        Raises:
            ValueError: the number of prompts is neither one nor B, or a prompt is needed and missing.
        """
        batches = [images] if isinstance(images, Tensor) else [to_tensor(image)[None] for image in images]
        total = sum(len(batch) for batch in batches)
        prompts = self._match(prompts, total)
        scores, start = [], 0
        for batch in batches:
            scores.append(self._score(batch, None if prompts is None else prompts[start : start + len(batch)]).float())
            start += len(batch)
        return torch.cat(scores) if scores else torch.zeros(0)

    def _match(self, prompts: Sequence[str] | None, total: int) -> list[str] | None:
        if prompts is None:
            if self.needs_prompt:
                raise ValueError(f"{type(self).__name__} needs the prompts of the images")
            return None
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        if len(prompts) == 1:
            prompts = prompts * total
        if len(prompts) != total:
            raise ValueError(f"{total} images but {len(prompts)} prompts: give one prompt, or one per image")
        return prompts

    @abstractmethod
    def _score(self, images: Tensor, prompts: list[str] | None) -> Tensor:
        """Scores (B,) of a tensor (B, 3, H, W) in [0, 1]."""


def to_tensor(image: Image.Image | str | Path) -> Tensor:
    """An image as a tensor (3, H, W) in [0, 1], opened as ``mmalign.images.open_image`` does."""
    opened = open_image(Path(image) if isinstance(image, str) else image)
    return torch.from_numpy(np.asarray(opened, dtype=np.float32) / 255).permute(2, 0, 1)
