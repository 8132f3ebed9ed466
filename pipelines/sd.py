"""Stable Diffusion 1.x and 2.x: one text encoder, a UNet, epsilon or v-prediction."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mmalign.diffusion.clip_family import ClipFamily
from mmalign.diffusion.noise import DDPM


class SD(ClipFamily):
    """Stable Diffusion 1.x and 2.x (epsilon or v-prediction, as the scheduler says)."""

    pipeline_classes = ("StableDiffusionPipeline",)
    clip_encoders = ("text_encoder",)

    def noise_process(self) -> DDPM:
        scheduler = self.pipe.scheduler
        return DDPM(scheduler.alphas_cumprod, scheduler.config.prediction_type, self.options.timesteps)

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        embeds, _ = self.pipe.encode_prompt(list(prompts), self.pipe.text_encoder.device, 1, do_classifier_free_guidance=False)
        return {"encoder_hidden_states": embeds}

    def tokenize(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        found = self._tokenized("text_encoder", list(prompts))
        tokens = {"text_encoder": found["input_ids"].int()}
        masked = getattr(self.pipe.text_encoder.config, "use_attention_mask", False)
        return tokens | {"mask": found["attention_mask"].int()} if masked else tokens

    def embed(self, encoders: Mapping[str, nn.Module], tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"encoder_hidden_states": encoders["text_encoder"](tokens["text_encoder"], attention_mask=tokens.get("mask"))[0]}

    def predict(self, denoiser: nn.Module, noisy: Tensor, timesteps: Tensor, conditioning: dict[str, Tensor]) -> Tensor:
        return denoiser(noisy, timesteps, **conditioning, return_dict=False)[0]


PLUGIN = SD
