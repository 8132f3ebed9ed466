"""One picture, or one clip, by a pipeline's own call, watched step by step."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from mmalign.diffusion.draw import eight_bits, to_image
from mmalign.diffusion.family import DiffusionFamily
from mmalign.errors import UserError, out_of_memory


def draw_one(
    family: DiffusionFamily, prompt: str, seed: int, call: Mapping[str, Any], watch: Callable[[int, int], None]
) -> tuple[Image.Image, ...]:
    """A picture in RGB, alone, or the frames of a clip.

    Args:
        call: arguments of the family's ``sample``.
        watch: called after each step with the steps done and those in all; what it raises stops the drawing.

    Raises:
        UserError: the picture is no number, the pipeline's own checker has blocked it, or the memory is not enough.
    """
    try:
        pictures = family.sample([prompt], [seed], batch_size=1, **watched(family, watch), **call)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise UserError("the memory is not enough for a picture of this size; make it smaller") from error
    if not torch.isfinite(pictures).all():
        raise UserError("the model gave a picture that is not a number; open it in float32")
    if pictures.max() == 0 and getattr(family.pipe, "safety_checker", None) is not None:
        raise UserError("the model's own safety checker has blocked this picture; change the prompt or the seed")
    frames = eight_bits(pictures)[0] if pictures.ndim == 5 else eight_bits(pictures)
    return tuple(to_image(frame) for frame in frames)


def watched(family: DiffusionFamily, watch: Callable[[int, int], None]) -> dict[str, Any]:
    """Arguments of a pipeline's call that have it report each step, by whichever door it has; none where it has no door."""
    doors = inspect.signature(type(family.pipe).__call__).parameters
    if "callback_on_step_end" in doors:
        then = family.call().get("callback_on_step_end", lambda *given: {})

        def after(pipe: Any, step: int, timestep: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            watch(step + 1, pipe.num_timesteps)
            return then(pipe, step, timestep, tensors)

        return {"callback_on_step_end": after}
    if {"callback", "callback_steps"} <= doors.keys():
        steps = family.pipe.scheduler
        return {"callback": lambda step, timestep, latents: watch(step + 1, len(steps.timesteps)), "callback_steps": 1}
    return {}
