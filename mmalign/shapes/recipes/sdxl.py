"""The SDXL-type base: two text encoders, pooled embedding and time ids, a UNet on 16 x 16 latents."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmalign.shapes.captions import prompts
from mmalign.shapes.recipes.denoise import Conditions, Latents, Round, diffusion_noising, train
from mmalign.shapes.recipes.loop import Fit
from mmalign.shapes.recipes.text import WIDTH, tokenize
from mmalign.shapes.recipes.vae import LATENT_CHANNELS

TIME_ID_WIDTH = 8


def scheduler(prediction: str):
    """DDIM from the noisiest timestep on: DDPM's linear betas for ``v_prediction``, Stable Diffusion's own for ``epsilon``.

    DDPM's betas leave next to no signal at the last timestep. Where the noise is predicted, its error is divided by that signal, which
    left such models at noise; Stable Diffusion's betas keep seven percent.
    """
    from diffusers import DDIMScheduler

    betas = {
        "v_prediction": {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"},
        "epsilon": {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"},
    }
    return DDIMScheduler(prediction_type=prediction, timestep_spacing="trailing", clip_sample=False, steps_offset=1, **betas[prediction])


def build() -> nn.Module:
    """An untrained ``UNet2DConditionModel`` with SDXL's added conditions."""
    return unet(
        2 * WIDTH,
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME_ID_WIDTH,
        projection_class_embeddings_input_dim=6 * TIME_ID_WIDTH + WIDTH,
    )


def unet(width: int, **added: Any) -> nn.Module:
    """An untrained ``UNet2DConditionModel`` that attends to embeddings of that width."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=16,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(32, 64, 80),
        layers_per_block=1,
        attention_head_dim=4,
        norm_num_groups=8,
        cross_attention_dim=width,
        **added,
    )


@torch.no_grad()
def conditions(words, encoders: tuple[nn.Module, nn.Module]) -> Conditions:
    """What the pipeline's ``encode_prompt`` gives: hidden states before the last layer, and the second encoder's embedding."""
    ids = tokenize(words, [*prompts("seen"), ""])
    first, second = (encoder(ids, output_hidden_states=True) for encoder in encoders)
    embeds = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
    return Conditions(*(torch.cat([x, torch.zeros_like(x[:1])]) for x in (embeds, second.text_embeds)))


def train_base(latents: Latents, given: Conditions, prediction: str, rounds: Sequence[Round], seed: int = 0) -> Fit:
    """Train the UNet to predict ``epsilon`` or ``v_prediction``."""
    torch.manual_seed(seed)
    unet = build()
    time_ids = torch.tensor([[64.0, 64, 0, 0, 64, 64]])

    def predict(noisy: Tensor, timesteps: Tensor, embeds: Tensor, pooled: Tensor | None) -> Tensor:
        added = {"text_embeds": pooled, "time_ids": time_ids.expand(len(noisy), -1)}
        return unet(noisy, timesteps, embeds, added_cond_kwargs=added).sample

    noising = diffusion_noising(scheduler(prediction).alphas_cumprod, prediction)
    return train(unet, predict, noising, latents, given, rounds, seed, name=f"sdxl {prediction}")


def pipeline(vae: nn.Module, words, encoders: tuple[nn.Module, nn.Module], unet: nn.Module, prediction: str):
    """A ``StableDiffusionXLPipeline`` of the parts; ``encoders`` are a ``CLIPTextModel`` and one with projection."""
    from diffusers import StableDiffusionXLPipeline

    return StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=encoders[0],
        text_encoder_2=encoders[1],
        tokenizer=words,
        tokenizer_2=words,
        unet=unet,
        scheduler=scheduler(prediction),
        add_watermarker=False,
    )
