"""Wan 2.1, and 2.2 with one denoiser: films by a flow-matching transformer, with UMT5 (Wan Team 2025, arXiv:2503.20314)."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmalign.diffusion.family import DEFAULTS, DiffusionFamily, FamilyOptions
from mmalign.diffusion.flow import flow_process
from mmalign.diffusion.noise import RectifiedFlow
from mmalign.errors import UserError


class Wan(DiffusionFamily):
    """Text to film: candidates are clips, latents are (C, F, H, W).

    Raises:
        UserError: the pipeline has two denoisers, as that of 14 B weights in 2.2: a LoRA would be in the first one alone.
    """

    pipeline_classes = ("WanPipeline",)
    denoiser_name = "transformer"
    default_frames = 81

    def __init__(self, pipe: Any, options: FamilyOptions = DEFAULTS):
        super().__init__(pipe, options)
        if pipe.config.get("boundary_ratio") is not None:
            raise UserError("this Wan pipeline has two denoisers, which cannot be aligned together; give Wan 2.1, or 2.2's model of 5 B")

    def noise_process(self) -> RectifiedFlow:
        return flow_process(self.pipe.scheduler, self.tokens, self.options.logit_normal, self.options.timesteps)

    def tokens(self, shape: Sequence[int]) -> int:
        frames, height, width = (side // patch for side, patch in zip(shape[-3:], self.denoiser.config.patch_size, strict=True))
        return frames * height * width

    @property
    def default_resolution(self) -> int:
        """A square of about the pixels of 832 x 480, which the models were trained on; `data.bucket_sizes` gives that shape itself."""
        return 624 // self.side_multiple * self.side_multiple

    @property
    def side_multiple(self) -> int:
        return self.pipe.vae_scale_factor_spatial * self.denoiser.config.patch_size[-1]

    @property
    def longest_side(self) -> int | None:
        return self.denoiser.config.rope_max_seq_len * self.side_multiple

    def latent_shape(self, height: int, width: int, frames: int | None = None) -> tuple[int, ...]:
        factor, config = self.pipe.vae_scale_factor_spatial, self.denoiser.config
        return config.in_channels, self.latent_frames(frames or self.default_frames), height // factor, width // factor

    def latent_frames(self, frames: int, key: str = "data.frames") -> int:
        """Latents of so many frames: one of the first, and one of each few that follow. Raises UserError where some are left over."""
        step = self.pipe.vae_scale_factor_temporal
        if frames % step != 1 % step:
            nearest = max(frames // step * step + 1, 1)
            raise UserError(f"{key} is {frames}, but clips for {self.name} have a multiple of {step} frames and one; set {nearest}")
        return 1 + (frames - 1) // step

    @property
    def max_sequence_length(self) -> int:
        """Tokens that UMT5 reads, as the pipeline has it."""
        return inspect.signature(type(self.pipe).__call__).parameters["max_sequence_length"].default

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        embeds, _ = self.pipe.encode_prompt(
            list(prompts),
            do_classifier_free_guidance=False,
            max_sequence_length=self.max_sequence_length,
            device=self.pipe.text_encoder.device,
        )
        return {"encoder_hidden_states": embeds}

    def own_length(self, conditioning: dict[str, Tensor]) -> dict[str, Tensor]:
        """One prompt's embedding without the zeros that the pipeline puts after it, which ``predict`` puts back."""
        embeds = conditioning["encoder_hidden_states"]
        return {"encoder_hidden_states": embeds[: int(embeds.any(dim=-1).sum())]}

    def predict(self, denoiser: nn.Module, noisy: Tensor, timesteps: Tensor, conditioning: dict[str, Tensor]) -> Tensor:
        if self.pipe.config.get("expand_timesteps"):  # 2.2's model of 5 B has one for each token
            timesteps = timesteps[:, None].expand(-1, self.tokens(noisy.shape))
        embeds = conditioning["encoder_hidden_states"]
        embeds = nn.functional.pad(embeds, (0, 0, 0, self.max_sequence_length - embeds.shape[1]))
        return denoiser(noisy, timestep=timesteps, encoder_hidden_states=embeds, return_dict=False)[0]


PLUGIN = Wan
