"""The autoencoder that all embedded pipelines share: 64 x 64 pictures to 16 x 16 latents of 8 channels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmalign.shapes.recipes.draws import random_pictures
from mmalign.shapes.recipes.loop import Fit, fit

LATENT_CHANNELS = 8
NOISE = 0.05


def build() -> nn.Module:
    """An untrained ``AutoencoderKL`` of 0.24 M parameters, factor 4."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 32),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=64,
        scaling_factor=1.0,
        shift_factor=0.0,
        mid_block_add_attention=False,
    )


def train(seed: int = 0, steps: int = 2800, rate: float = 2e-3, batch: int = 8) -> Fit:
    """Train on random pictures, four fifths of the steps on crops of 32 pixels; latents end with mean 0 and deviation 1."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    vae = build().to(memory_format=torch.channels_last)

    def loss(step: int) -> Tensor:
        pictures = random_pictures(batch, generator) * 2 - 1
        if step < 0.8 * steps:
            pictures = _crop(pictures, 32, generator)
        return _reconstruction_loss(vae, pictures, generator)

    done = fit(vae, loss, steps, rate, name="vae")
    standardize(vae, random_pictures(512, generator) * 2 - 1)
    return done


def _crop(pictures: Tensor, side: int, generator: torch.Generator) -> Tensor:
    top, left = (4 * torch.randint((pictures.shape[-1] - side) // 4 + 1, (2,), generator=generator)).tolist()
    return pictures[:, :, top : top + side, left : left + side].contiguous(memory_format=torch.channels_last)


def _reconstruction_loss(vae: nn.Module, pictures: Tensor, generator: torch.Generator) -> Tensor:
    """L1 plus squared error from a lightly noised posterior mode, and a pull of the latents towards zero."""
    latents = vae.encode(pictures).latent_dist.mode()
    noised = latents + NOISE * torch.randn(latents.shape, generator=generator)
    decoded = vae.decode(noised).sample
    return F.l1_loss(decoded, pictures) + F.mse_loss(decoded, pictures) + 1e-3 * latents.square().mean()


@torch.no_grad()
def standardize(vae: nn.Module, pictures: Tensor) -> None:
    """Fold the latents' mean and deviation per channel into the convolutions around them, and fix the posterior's variance."""
    latents = torch.cat([vae.encode(chunk).latent_dist.mode() for chunk in pictures.split(64)])
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    quant, post = vae.quant_conv, vae.post_quant_conv
    quant.weight[:LATENT_CHANNELS] /= deviation[:, None, None, None]
    quant.bias[:LATENT_CHANNELS] = (quant.bias[:LATENT_CHANNELS] - mean) / deviation
    quant.weight[LATENT_CHANNELS:] = 0
    quant.bias[LATENT_CHANNELS:] = 2 * torch.log(NOISE / deviation)
    post.bias += (post.weight[:, :, 0, 0] * mean).sum(1)
    post.weight *= deviation[None, :, None, None]
