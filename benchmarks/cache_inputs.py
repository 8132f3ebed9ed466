"""What the sides of `cache.py` learn from: a base in the stock format, pairs of pictures, and caches that are full."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mmalign.config import RunConfig, from_mapping
from mmalign.data.schema import Example
from mmalign.data.write import write_pickapic

PROMPTS = ["a red circle", "a blue square", "a green triangle", "a yellow star"]
SIDES = {"tiny": 64, "sdxl": 1024}
"""Pixels of a picture's sides, by the size of the model."""

UNET = {
    "act_fn": "silu",
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "attention_head_dim": [5, 10, 20],
    "block_out_channels": [320, 640, 1280],
    "cross_attention_dim": 2048,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "in_channels": 4,
    "layers_per_block": 2,
    "out_channels": 4,
    "projection_class_embeddings_input_dim": 2816,
    "sample_size": 128,
    "transformer_layers_per_block": [1, 2, 10],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "use_linear_projection": True,
}
"""SDXL's UNet (Podell et al. 2023): 2.57 billion parameters."""
VAE = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "force_upcast": True,
    "latent_channels": 4,
    "layers_per_block": 2,
    "sample_size": 1024,
    "scaling_factor": 0.13025,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12, "projection_dim": 768}
CLIP_G = {
    "hidden_size": 1280,
    "hidden_act": "gelu",
    "intermediate_size": 5120,
    "num_attention_heads": 20,
    "num_hidden_layers": 32,
    "projection_dim": 1280,
}


def serve(name: str, pipe: Any, options: argparse.Namespace, folder: Path) -> None:
    """Makes everything when asked, and says what filling the caches took, in processor seconds."""
    from mmalign.cli.quiet import quiet

    quiet(pipelines=True)
    try:
        while pipe.recv() != "end":
            pipe.send(make(options, folder))
    except Exception as error:  # noqa: BLE001, told by who asked
        pipe.send(f"{name}: {type(error).__name__}: {error}")


def make(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Writes pairs and, for the true size, a base; fills the caches."""
    from mmalign.training.fill import fill

    if options.size == "sdxl":
        true_size(folder / "base", options.device)
    generator, side = np.random.default_rng(0), SIDES[options.size]
    pictures = [picture(generator, side) for _ in range(2 * options.pairs)]
    pairs = [Example(PROMPTS[i % len(PROMPTS)], (pictures[2 * i], pictures[2 * i + 1])) for i in range(options.pairs)]
    write_pickapic(pairs, folder / "pairs.parquet")
    encoded = timed(lambda: fill(configuration("encoded", options, folder)))
    return {"latents and embeddings": encoded, "reference errors": timed(lambda: fill(configuration("errors", options, folder)))}


def timed(do: Callable[[], object]) -> float:
    """Processor seconds, those of the GPU's work by the clock."""
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    start = clock()
    do()
    return clock() - start


def picture(generator: np.random.Generator, side: int) -> Image.Image:
    """Smooth noise, which compresses about as a photograph does."""
    coarse = generator.integers(0, 256, (side // 16, side // 16, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def configuration(name: str, options: argparse.Namespace, folder: Path) -> RunConfig:
    """The run of a side."""
    true = options.size == "sdxl"
    values = {
        "model": {"pretrained": str(folder / "base") if true else "shapes/sdxl", "dtype": "bfloat16" if true else "float32"},
        "adapter": {"name": "lora", "rank": 16},
        "data": {"source": str(folder / "pairs.parquet"), "cache_dir": str(folder / "cache")},
        "method": {"name": "diffusion_dpo", "beta": 5000},
        "train": {
            "max_train_steps": 1 + options.steps * options.turns,
            "train_batch_size": options.batch_size,
            "learning_rate": 1e-5,
            "report_to": "none",
            "mixed_precision": "bf16" if true else "no",
        },
        "output_dir": str(folder / name),
    }
    if name == "errors":
        values["data"]["reference_draws"] = options.draws
    return from_mapping(values)


def true_size(folder: Path, device: str) -> None:
    """A base of SDXL's size with random weights, in bfloat16."""
    import diffusers
    import transformers

    from mmalign.shapes.models import path

    small = diffusers.StableDiffusionXLPipeline.from_pretrained(path("sdxl"))
    vocabulary = {"vocab_size": 49408, "max_position_embeddings": 77, "bos_token_id": 49406, "eos_token_id": 49407}
    with torch.device(device):
        parts = {
            "unet": diffusers.UNet2DConditionModel.from_config(UNET),
            "vae": diffusers.AutoencoderKL.from_config(VAE),
            "text_encoder": transformers.CLIPTextModel(transformers.CLIPTextConfig(**vocabulary, **CLIP_L)),
            "text_encoder_2": transformers.CLIPTextModelWithProjection(transformers.CLIPTextConfig(**vocabulary, **CLIP_G)),
        }
    for tokenizer in (small.tokenizer, small.tokenizer_2):
        tokenizer.model_max_length = 77
    pipe = diffusers.StableDiffusionXLPipeline(**parts, tokenizer=small.tokenizer, tokenizer_2=small.tokenizer_2, scheduler=small.scheduler)
    pipe.to(dtype=torch.bfloat16).save_pretrained(folder)
