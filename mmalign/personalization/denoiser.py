"""What a conditioner finds in a pipeline of diffusers: the denoiser, the attentions that read the prompt, and the door to them."""

import inspect
from typing import Any

from torch import nn

from mmalign.errors import UserError
from mmalign.personalization.calling import check_layout

KWARGS = ("cross_attention_kwargs", "joint_attention_kwargs")
"""What the denoisers of diffusers call what is meant for attention, and so do their pipelines."""
FITTING = "choose a pipeline of SD, SDXL or SD3"


def keyword(denoiser: nn.Module) -> str:
    """What a denoiser, and its pipeline, call what is meant for attention. Raises UserError where they take nothing for it."""
    taken = inspect.signature(uncompiled(denoiser).forward).parameters
    found = next((name for name in KWARGS if name in taken), None)
    if found is None:
        raise UserError(f"{type(denoiser).__name__} takes no arguments for its attention, so that it cannot be told of a user; {FITTING}")
    return found


def check_takes_users(pipe: Any) -> nn.Module:
    """The denoiser of a pipeline that can be told of a user, whether its weights are there or not.

    Raises:
        UserError: it cannot: its call hands nothing on to attention, its attention is of another kind, or its batches are.
    """
    denoiser = _denoiser(pipe)
    if not attentions(denoiser):
        raise UserError(f"{type(denoiser).__name__} has no attention that a conditioner could go beside; {FITTING}")
    if keyword(denoiser) not in inspect.signature(type(pipe).__call__).parameters:
        raise UserError(f"{type(pipe).__name__} hands nothing on to attention, so that it cannot be told of a user; {FITTING}")
    check_layout(pipe)
    return denoiser


def attentions(denoiser: nn.Module) -> dict[str, Any]:
    """The attentions that read the prompt, by name: a UNet's cross-attentions, a transformer's joint ones."""
    names = [name.removesuffix(".processor") for name in getattr(denoiser, "attn_processors", {})]
    found = {name: denoiser.get_submodule(name) for name in names}
    known = {name: attn for name, attn in found.items() if hasattr(attn, "is_cross_attention")}  # newer models have classes of their own
    return {name: attn for name, attn in known.items() if attn.is_cross_attention or attn.added_kv_proj_dim is not None}


def uncompiled(denoiser: nn.Module) -> nn.Module:
    """The denoiser itself, which ``torch.compile`` may have put into another module."""
    return getattr(denoiser, "_orig_mod", denoiser)


def _denoiser(pipe: Any) -> nn.Module:
    parts = (getattr(pipe, name, None) for name in ("unet", "transformer"))
    found = next((part for part in parts if part is not None), None)  # a compiled module has no truth
    if found is None:
        raise UserError(f"{type(pipe).__name__} has neither a unet nor a transformer that a conditioner could attach to")
    return uncompiled(found)
