"""Stable Diffusion XL: two text encoders, pooled embeddings and time ids (Podell et al. 2023, arXiv:2307.01952)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mmalign.diffusion.clip_family import ClipFamily
from mmalign.diffusion.noise import DDPM
from mmalign.geometry import Geometry


class SDXL(ClipFamily):
    """Stable Diffusion XL, with each image's true size and crop as micro-conditioning."""

    pipeline_classes = ("StableDiffusionXLPipeline",)

    def noise_process(self) -> DDPM:
        scheduler = self.pipe.scheduler
        return DDPM(scheduler.alphas_cumprod, scheduler.config.prediction_type, self.options.timesteps)

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        device = self.pipe.text_encoder_2.device
        embeds, _, pooled, _ = self.pipe.encode_prompt(list(prompts), device=device, do_classifier_free_guidance=False)
        if self.pipe.config.force_zeros_for_empty_prompt:  # what the pipeline takes for no prompt is zeros
            named = torch.tensor([prompt != "" for prompt in prompts], device=device)
            embeds, pooled = embeds * named[:, None, None], pooled * named[:, None]
        return {"encoder_hidden_states": embeds, "text_embeds": pooled}

    def layers_read(self, name: str) -> int:
        # of both the states before the last layer are read; of the second also what the last layer makes of the end of the text
        return super().layers_read(name) - (name == "text_encoder")

    def tokenize(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        named = {"named": torch.tensor([prompt != "" for prompt in prompts])}
        return super().tokenize(prompts) | (named if self.pipe.config.force_zeros_for_empty_prompt else {})

    def embed(self, encoders: Mapping[str, nn.Module], tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
        said = [encoder(tokens[name], output_hidden_states=True) for name, encoder in encoders.items()]
        embeds, pooled = torch.cat([one.hidden_states[-2] for one in said], dim=-1), said[-1].text_embeds
        if (named := tokens.get("named")) is not None:
            embeds, pooled = embeds * named[:, None, None], pooled * named[:, None]
        return {"encoder_hidden_states": embeds, "text_embeds": pooled}

    def image_conditioning(self, geometry: Geometry) -> dict[str, Tensor]:
        numbers = geometry.original_size + geometry.crop_top_left + geometry.target_size
        return {"time_ids": torch.tensor(numbers, dtype=torch.float32)}

    def predict(self, denoiser: nn.Module, noisy: Tensor, timesteps: Tensor, conditioning: dict[str, Tensor]) -> Tensor:
        added = {name: conditioning[name] for name in ("text_embeds", "time_ids")}
        embeds = conditioning["encoder_hidden_states"]
        return denoiser(noisy, timesteps, encoder_hidden_states=embeds, added_cond_kwargs=added, return_dict=False)[0]


PLUGIN = SDXL
