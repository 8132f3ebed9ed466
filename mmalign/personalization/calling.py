"""Which rows of a denoiser's batch are of the prompt, as the pipeline lays them out that is calling it."""

import inspect
from collections.abc import Mapping
from typing import Any

from mmalign.errors import UserError

GUIDED = "do_classifier_free_guidance"
OTHERWISE = ("do_perturbed_attention_guidance", "image_guidance_scale")
"""Properties of pipelines that draw from other batches than one half of nothing and one of the prompt."""


def knowing(told: Mapping[str, Any]) -> tuple[bool, ...]:
    """Of the equal parts of a batch, in order, whether each knows the prompt, and with it the user.

    The pipeline whose call is under way says so, and not the one that a conditioner was attached to: several pipelines share a denoiser
    (``from_pipe``), and guidance stays in a pipeline when its call is over. Without a pipeline all rows are what they are.

    Args:
        told: what the denoiser is called with. SD3's pipeline asks a second time without some layers, for skip-layer guidance, and then
            about the prompt alone.

    Raises:
        UserError: the pipeline has batches of another kind.
    """
    pipe = _calling()
    if pipe is None:
        return (True,)
    check_layout(pipe)
    return (False, True) if getattr(pipe, GUIDED) and told.get("skip_layers") is None else (True,)


def check_layout(pipe: Any) -> None:
    """Raises UserError unless it is known which rows of a pipeline's batches are of the prompt."""
    kind = type(pipe)
    if not hasattr(kind, GUIDED) or any(hasattr(kind, name) for name in OTHERWISE):
        said = f"{kind.__name__} does not say which half of a batch is without the prompt, so that a user would stand beside the wrong rows"
        raise UserError(f"{said}; choose a pipeline with classifier-free guidance alone")


def _calling() -> Any | None:
    """The innermost pipeline of diffusers whose call is under way in this thread."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name == "__call__":
            found = frame.f_locals.get("self")
            if hasattr(type(found), "register_modules"):  # all pipelines have it, and nothing else
                return found
        frame = frame.f_back
    return None
