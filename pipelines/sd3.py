"""SD 3 and 3.5: a flow-matching transformer, two CLIP encoders and, where loaded, T5 (Esser et al. 2024, arXiv:2403.03206)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmalign.diffusion.family import DiffusionFamily
from mmalign.diffusion.noise import RectifiedFlow


class SD3(DiffusionFamily):
    """Stable Diffusion 3 and 3.5: errors are those of the velocity, beta is constant over time."""

    pipeline_classes = ("StableDiffusion3Pipeline",)
    denoiser_name = "transformer"
    lora_targets = ("to_k", "to_q", "to_v", "to_out.0", "add_k_proj", "add_q_proj", "add_v_proj", "to_add_out")

    def noise_process(self) -> RectifiedFlow:
        scheduler = self.pipe.scheduler
        # a used scheduler holds the sigmas of its last sampling run; a fresh one holds those of training, shift included
        fresh = type(scheduler).from_config(scheduler.config)
        return RectifiedFlow(fresh.sigmas, scheduler.config.num_train_timesteps, self.logit_normal)

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        prompts, device = list(prompts), self.pipe.text_encoder.device
        embeds, _, pooled, _ = self.pipe.encode_prompt(
            prompts, prompts, prompts, device=device, do_classifier_free_guidance=False, max_sequence_length=self.max_sequence_length
        )
        return {"encoder_hidden_states": embeds, "pooled_projections": pooled}

    @property
    def max_sequence_length(self) -> int:
        """Tokens that T5 reads, in training and in sampling: the pipeline's default of 256, or fewer where its tokenizer takes no more."""
        tokenizer = self.pipe.tokenizer_3
        return 256 if tokenizer is None else min(256, tokenizer.model_max_length)

    def sample(self, prompts: Sequence[str], seeds: Sequence[int], **call: Any) -> Tensor:
        return super().sample(prompts, seeds, **{"max_sequence_length": self.max_sequence_length} | call)

    def predict(self, denoiser: nn.Module, noisy: Tensor, timesteps: Tensor, conditioning: dict[str, Tensor]) -> Tensor:
        return denoiser(hidden_states=noisy, timestep=timesteps, **conditioning, return_dict=False)[0]


PLUGIN = SD3
