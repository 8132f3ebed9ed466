"""SD 3 and 3.5: a flow-matching transformer, two CLIP encoders and, where loaded, T5 (Esser et al. 2024, arXiv:2403.03206)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mmalign.diffusion.clip_family import ClipFamily
from mmalign.diffusion.flow import flow_process
from mmalign.diffusion.noise import RectifiedFlow


class SD3(ClipFamily):
    """Stable Diffusion 3 and 3.5: errors are those of the velocity, beta is constant over time."""

    pipeline_classes = ("StableDiffusion3Pipeline",)
    denoiser_name = "transformer"
    lora_targets = ("to_k", "to_q", "to_v", "to_out.0", "add_k_proj", "add_q_proj", "add_v_proj", "to_add_out")

    def noise_process(self) -> RectifiedFlow:
        return flow_process(self.pipe.scheduler, self.tokens, self.options.logit_normal, self.options.timesteps)

    def tokens(self, shape: Sequence[int]) -> int:
        return shape[-2] * shape[-1] // self.denoiser.config.patch_size**2

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        prompts, device = list(prompts), self.pipe.text_encoder.device
        embeds, _, pooled, _ = self.pipe.encode_prompt(
            prompts, prompts, prompts, device=device, do_classifier_free_guidance=False, max_sequence_length=self.max_sequence_length
        )
        return {"encoder_hidden_states": embeds, "pooled_projections": pooled}

    def embed(self, encoders: Mapping[str, nn.Module], tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
        said = [encoder(tokens[name], output_hidden_states=True) for name, encoder in encoders.items()]
        embeds = torch.cat([one.hidden_states[-2] for one in said], dim=-1)
        padded = nn.functional.pad(embeds, (0, self.denoiser.config.joint_attention_dim - embeds.shape[-1]))
        return {"encoder_hidden_states": padded, "pooled_projections": torch.cat([one.text_embeds for one in said], dim=-1)}

    @property
    def max_sequence_length(self) -> int:
        """Tokens that T5 reads, in training and in sampling: the pipeline's default of 256, or fewer where its tokenizer takes no more."""
        tokenizer = self.pipe.tokenizer_3
        return 256 if tokenizer is None else min(256, tokenizer.model_max_length)

    def predict(self, denoiser: nn.Module, noisy: Tensor, timesteps: Tensor, conditioning: dict[str, Tensor]) -> Tensor:
        return denoiser(hidden_states=noisy, timestep=timesteps, **conditioning, return_dict=False)[0]


PLUGIN = SD3
