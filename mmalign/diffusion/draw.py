"""One call of a pipeline, of any class that diffusers has."""

from collections.abc import Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from mmalign.errors import UserError


@dataclass(frozen=True)
class Drawn:
    """What a pipeline gave.

    Attributes:
        pictures: (N, 3, H, W) in [0, 1], float32, on the CPU; clips (N, F, 3, H, W).
        blocked: of each picture, whether the pipeline's own safety checker replaced it.
    """

    pictures: Tensor
    blocked: tuple[bool, ...]


def draw(pipe: Any, prompts: Sequence[str], seeds: Sequence[int], films: bool = False, **call: Any) -> Drawn:
    """Pictures of prompts by the pipeline's own call.

    Args:
        pipe: the pipeline.
        prompts: N prompts.
        seeds: N seeds; a picture's noise depends on its own seed only, whatever the device, as it is drawn on the CPU.
        films: whether the caller can do with clips.
        **call: handed to the pipeline as they are.

    Raises:
        UserError: the pipeline draws films, where pictures are wanted.
    """
    if not films and draws_films(type(pipe)):
        raise UserError(f"{type(pipe).__name__} draws films, and pictures are wanted here; give a pipeline of pictures")
    generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
    result = pipe(prompt=list(prompts), generator=generators, output_type="pt", **call)
    blocked = getattr(result, "nsfw_content_detected", None) or [False] * len(prompts)
    pictures = result.images if hasattr(result, "images") else result.frames
    return Drawn(pictures.float().cpu(), tuple(map(bool, blocked)))


def draws_films(kind: type) -> bool:
    """Whether pipelines of a class draw films."""
    return "num_frames" in signature(kind.__call__).parameters


def strips(pictures: Tensor, frames: int = 4) -> Tensor:
    """Clips (N, F, 3, H, W) as pictures of a few of their frames side by side; pictures as they are."""
    if pictures.ndim == 4:
        return pictures
    places = torch.linspace(0, pictures.shape[1] - 1, min(frames, pictures.shape[1])).round().long()
    return torch.cat(pictures[:, places].unbind(1), dim=-1)


def eight_bits(pictures: Tensor) -> Tensor:
    """Pictures in [0, 1] as they are written: uint8, rounded."""
    return (pictures * 255).round().clamp(0, 255).byte()


def to_image(picture: Tensor) -> Image.Image:
    """A picture (3, H, W) uint8 as PIL has it, RGB."""
    return Image.fromarray(picture.permute(1, 2, 0).numpy())
