"""FLUX.1 (dev and schnell): a flow-matching transformer over packed latents, T5 for the tokens and CLIP for the pooled embedding."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmalign.diffusion.clip_family import ClipFamily
from mmalign.diffusion.packed import PackedFamily
from mmalign.diffusion.packing import pack, unpack
from mmalign.diffusion.usual import FEW


class Flux(ClipFamily, PackedFamily):
    """FLUX.1: the guidance that dev was distilled for is an input of the denoiser, and the same for policy and reference."""

    pipeline_classes = ("FluxPipeline",)
    clip_encoders = ("text_encoder",)
    # those of diffusers' own script for FLUX.1, which reach the double and the single blocks
    lora_targets = (
        *("to_k", "to_q", "to_v", "to_out.0", "add_k_proj", "add_q_proj", "add_v_proj", "to_add_out"),
        *("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2"),
    )

    @property
    def max_sequence_length(self) -> int:
        """Tokens that T5 reads: 512 for dev and 256 for schnell, as published, or fewer where its tokenizer takes no more."""
        return min(512 if self.denoiser.config.guidance_embeds else 256, self.pipe.tokenizer_2.model_max_length)

    @property
    def guidance(self) -> float:
        """What the denoiser is told: what was asked for, or the pipeline's default."""
        default = inspect.signature(type(self.pipe).__call__).parameters["guidance_scale"].default
        return default if self.options.guidance is None else self.options.guidance

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        length = self.max_sequence_length
        embeds, pooled, _ = self.pipe.encode_prompt(list(prompts), device=self.pipe.text_encoder.device, max_sequence_length=length)
        return {"encoder_hidden_states": embeds, "pooled_projections": pooled}

    def embed(self, encoders: Mapping[str, nn.Module], tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"pooled_projections": encoders["text_encoder"](tokens["text_encoder"]).pooler_output}

    @property
    def usual(self) -> dict[str, Any]:
        """Guidance as it is trained with; schnell, which has no such input, was distilled for four steps."""
        few = {} if self.denoiser.config.guidance_embeds or self.options.timesteps else {"num_inference_steps": FEW}
        return super().usual | few | {"guidance_scale": self.guidance}

    def predict(self, denoiser: nn.Module, noisy: Tensor, timesteps: Tensor, conditioning: dict[str, Tensor]) -> Tensor:
        height, width = noisy.shape[-2:]
        answer = denoiser(
            hidden_states=pack(noisy),
            timestep=timesteps / 1000,
            guidance=self._guidance(timesteps) if self.denoiser.config.guidance_embeds else None,
            txt_ids=noisy.new_zeros(conditioning["encoder_hidden_states"].shape[1], 3),
            img_ids=places(height // 2, width // 2).to(noisy.device, noisy.dtype),
            **conditioning,
            return_dict=False,
        )
        return unpack(answer[0], height, width)

    def _guidance(self, timesteps: Tensor) -> Tensor:
        return torch.full_like(timesteps, self.guidance, dtype=torch.float32)


def places(height: int, width: int) -> Tensor:
    """Where the tokens of a picture are, (height * width, 3): 0, row, column."""
    return torch.cartesian_prod(torch.zeros(1), torch.arange(float(height)), torch.arange(float(width)))


PLUGIN = Flux
