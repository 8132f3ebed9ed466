"""The arithmetic of a step of `cache.py` at SDXL's true size, counted by torch on tensors without numbers: no GPU is needed.

python benchmarks/cache_arithmetic.py
"""

from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

if __package__:
    from benchmarks.cache_inputs import CLIP_G, CLIP_L, UNET, VAE
else:
    from cache_inputs import CLIP_G, CLIP_L, UNET, VAE


def main() -> None:
    for name, value in parts().items():
        print(f"{name:<40} {value / 1e12:8.2f} TFLOP")


def parts() -> dict[str, float]:
    """Floating-point operations for one pair of 1024 x 1024 pixels."""
    import diffusers
    import transformers
    from peft import LoraConfig

    with torch.device("meta"):
        vae = diffusers.AutoencoderKL.from_config(VAE).requires_grad_(False)
        texts = [transformers.CLIPTextModel(transformers.CLIPTextConfig(**size)) for size in (CLIP_L, CLIP_G)]
        unet = diffusers.UNet2DConditionModel.from_config(UNET).requires_grad_(False)
        unet.add_adapter(LoraConfig(r=16, target_modules=["to_k", "to_q", "to_v", "to_out.0"]))
        given = {
            "sample": torch.empty(2, 4, 128, 128),
            "timestep": torch.zeros(2),
            "encoder_hidden_states": torch.empty(2, 77, 2048),
            "added_cond_kwargs": {"time_ids": torch.empty(2, 6), "text_embeds": torch.empty(2, 1280)},
        }
        found = {"VAE, both pictures": counted(vae.encode, torch.empty(2, 3, 1024, 1024))}
        found["text encoders, the prompt"] = sum(counted(text, torch.zeros(1, 77, dtype=torch.long)) for text in texts)
        forward = counted(unet, **given)
        together = counted(lambda: unet(**given).sample.sum().backward())
        unet.disable_adapters()
        found |= {"reference, forward": counted(unet, **given), "policy, forward": forward, "policy, backward": together - forward}
    return found


def counted(do: Any, *arguments: Any, **named: Any) -> int:
    """Operations of one call."""
    with FlopCounterMode(display=False) as counter, torch.enable_grad() if not isinstance(do, nn.Module) else torch.no_grad():
        do(*arguments, **named)
    return counter.get_total_flops()


if __name__ == "__main__":
    main()
