"""Tiny pipelines with a conditioner that has learned something, and pictures by them."""

import torch

from mmalign.personalization import UserConditioner, UserEmbeddings
from tests import tiny

FAMILIES = {"sd": tiny.sd, "sdxl": tiny.sdxl, "sd3": tiny.sd3}
KWARG = {"sd": "cross_attention_kwargs", "sdxl": "cross_attention_kwargs", "sd3": "joint_attention_kwargs"}
TOKENS, WIDTH = 3, 5


def users() -> UserEmbeddings:
    generator = torch.Generator().manual_seed(1)
    return UserEmbeddings({name: torch.randn(TOKENS, WIDTH, generator=generator) for name in ("ann", "ben")})


def denoiser_of(pipe):
    return pipe.unet if hasattr(pipe, "unet") else pipe.transformer


def conditioner(pipe, learned: bool = True) -> UserConditioner:
    torch.manual_seed(3)
    made = UserConditioner.fitting(denoiser_of(pipe), TOKENS, WIDTH, dim=8, users=users())
    if learned:
        for value in made.values.values():
            torch.nn.init.normal_(value.weight, std=0.5)
    return made


def drawn(pipe, name: str, prompts=("a red circle",), guidance: float = 3.0, **call):
    generators = [torch.Generator().manual_seed(seed) for seed in range(len(prompts) * call.get("num_images_per_prompt", 1))]
    size = {"height": 16, "width": 16}
    said = pipe(list(prompts), num_inference_steps=2, guidance_scale=guidance, generator=generators, output_type="pt", **size, **call)
    return said.images


def for_user(name, user):
    return {KWARG[name]: {"user": user}}
