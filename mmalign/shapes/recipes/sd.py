"""The SD1.5-type base: one text encoder, a UNet that predicts the noise, no safety checker."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmalign.shapes.captions import prompts
from mmalign.shapes.recipes.denoise import Conditions, Latents, Round, diffusion_noising, train
from mmalign.shapes.recipes.loop import Fit
from mmalign.shapes.recipes.sdxl import scheduler, unet
from mmalign.shapes.recipes.text import WIDTH, tokenize


def build() -> nn.Module:
    """An untrained ``UNet2DConditionModel`` without added conditions."""
    return unet(WIDTH)


@torch.no_grad()
def conditions(words, encoder: nn.Module) -> Conditions:
    """What the pipeline's ``encode_prompt`` gives: the last hidden states."""
    embeds = encoder(tokenize(words, [*prompts("seen"), ""])).last_hidden_state
    return Conditions(torch.cat([embeds, torch.zeros_like(embeds[:1])]), None)


def train_base(latents: Latents, given: Conditions, rounds: Sequence[Round], seed: int = 0) -> Fit:
    """Train the UNet to predict the noise."""
    torch.manual_seed(seed)
    unet = build()

    def predict(noisy: Tensor, timesteps: Tensor, embeds: Tensor, pooled: Tensor | None) -> Tensor:
        return unet(noisy, timesteps, embeds).sample

    noising = diffusion_noising(scheduler("epsilon").alphas_cumprod, "epsilon")
    return train(unet, predict, noising, latents, given, rounds, seed, name="sd epsilon")


def pipeline(vae: nn.Module, words, encoder: nn.Module, unet: nn.Module):
    """A ``StableDiffusionPipeline`` of the parts."""
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=encoder,
        tokenizer=words,
        unet=unet,
        scheduler=scheduler("epsilon"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
