"""Clips for people: kept small as they are drawn, moving in a page, and as strips of frames where nothing moves."""

import base64
import io

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mmalign.diffusion.draw import eight_bits
from mmalign.frames import evenly

SHOWN, SIDE = 16, 256
"""Frames of a clip that are kept, and pixels of its longer side: a clip of 81 frames in 832 x 480 would be 97 MB."""
STRIP = 4
"""Frames of a strip."""


def kept(picture: Tensor) -> np.ndarray:
    """A picture (3, H, W) in [0, 1] as (H, W, 3) uint8; of a clip (F, 3, H, W) some frames, evenly spaced and reduced, (f, h, w, 3)."""
    if picture.ndim == 3:
        return eight_bits(picture).permute(1, 2, 0).numpy()
    few = picture[evenly(range(len(picture)), SHOWN)]
    scale = min(1.0, SIDE / max(few.shape[-2:]))
    if scale < 1:
        few = F.interpolate(few, size=tuple(max(1, round(side * scale)) for side in few.shape[-2:]), mode="area")
    return eight_bits(few).permute(0, 2, 3, 1).contiguous().numpy()


def moving(frames: np.ndarray, seconds: float) -> str:
    """Frames (f, h, w, 3) uint8 as a data URI of a picture that moves, in so many seconds, again and again; 50 to 200 kB."""
    pictures, stream = [Image.fromarray(frame) for frame in frames], io.BytesIO()
    ends = [round(1000 * seconds * (place + 1) / len(pictures)) for place in range(len(pictures))]
    times = [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    pictures[0].save(stream, "webp", save_all=True, append_images=pictures[1:], duration=times, loop=0, quality=70)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"


def strip(frames: np.ndarray) -> list[np.ndarray]:
    """A few of frames (f, h, w, 3), evenly spaced."""
    return [frames[place] for place in evenly(range(len(frames)), STRIP)]


def flattened(clips: Tensor) -> tuple[Tensor, int]:
    """Pictures (N, 3, H, W), or all frames of clips (N, F, 3, H, W), in one row, and how many there are of each."""
    return (clips, 1) if clips.ndim == 4 else (torch.flatten(clips, 0, 1), clips.shape[1])
