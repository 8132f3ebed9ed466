"""Qwen-Image: a flow-matching transformer over packed latents, with Qwen2.5-VL as its text encoder (Wu et al. 2025, arXiv:2508.02324)."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmalign.diffusion.packed import PackedFamily
from mmalign.diffusion.packing import pack, unpack


class QwenImage(PackedFamily):
    """Qwen-Image. Prompts keep their own lengths; those of a batch are padded, and the mask says where."""

    pipeline_classes = ("QwenImagePipeline",)
    prompt_mask = "encoder_hidden_states_mask"

    @property
    def unread(self) -> tuple[str, ...]:
        """What the last block makes of the text."""
        last = f"transformer_blocks.{self.denoiser.config.num_layers - 1}"
        return f"{last}.attn.to_add_out", f"{last}.txt_mlp"

    @property
    def lora_targets(self) -> tuple[str, ...]:  # type: ignore[override]
        """The projections of both streams, but for that out of the last block's text, which nothing reads and so nothing trains."""
        both = ("to_k", "to_q", "to_v", "to_out.0", "add_k_proj", "add_q_proj", "add_v_proj")
        return both + tuple(f"transformer_blocks.{i}.attn.to_add_out" for i in range(self.denoiser.config.num_layers - 1))

    @property
    def max_sequence_length(self) -> int:
        """Tokens of the prompt itself, as the pipeline has it."""
        return inspect.signature(type(self.pipe).__call__).parameters["max_sequence_length"].default

    @property
    def prompt_settings(self) -> list[Any]:
        return [*super().prompt_settings, self.pipe.prompt_template_encode, self.pipe.prompt_template_encode_start_idx]

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        embeds, mask = self.pipe.encode_prompt(list(prompts), self.pipe.text_encoder.device, max_sequence_length=self.max_sequence_length)
        if mask is None:  # so it says that all are as long
            mask = torch.ones(embeds.shape[:2], dtype=torch.long, device=embeds.device)
        return {"encoder_hidden_states": embeds, self.prompt_mask: mask.bool()}

    @torch.no_grad()
    def encode_images(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """As all do, through an autoencoder for films: a picture is a film of one frame."""
        mean, std = super().encode_images(pixels.unsqueeze(2))
        return mean.squeeze(2), std.squeeze(2)

    @property
    def usual(self) -> dict[str, Any]:
        scale = inspect.signature(type(self.pipe).__call__).parameters["true_cfg_scale"].default
        return super().usual | ({} if self.options.timesteps else {"guidance_scale": scale})

    def drawn(self, prompts: Sequence[str], seeds: Sequence[int], **call: Any) -> Tensor:
        """Pictures; ``guidance_scale`` is the pipeline's ``true_cfg_scale``, which acts beside a negative prompt."""
        scale = call.pop("guidance_scale", None)
        given = {} if scale is None else {"true_cfg_scale": scale}
        negative = call.pop("negative_prompt", " ")  # as its authors write the empty one
        if scale is None or scale > 1:
            given["negative_prompt"] = [negative] * len(prompts) if isinstance(negative, str) else negative
        return super().drawn(prompts, seeds, **given, **call)

    def predict(self, denoiser: nn.Module, noisy: Tensor, timesteps: Tensor, conditioning: dict[str, Tensor]) -> Tensor:
        height, width = noisy.shape[-2:]
        answer = denoiser(
            hidden_states=pack(noisy),
            timestep=timesteps / 1000,
            img_shapes=[[(1, height // 2, width // 2)]] * len(noisy),
            **conditioning,
            return_dict=False,
        )
        return unpack(answer[0], height, width)


PLUGIN = QwenImage
