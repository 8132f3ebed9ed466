"""A tiny MPS in imscore's layout: towers and cross model in one safetensors file, configuration and tokenizer in CLIP's folder."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from tests.scorers.clips import lively

SIDE, WIDTH, HEADS, HEAD_WIDTH, INNER, LAYERS, LENGTH = 32, 24, 3, 8, 96, 2, 28
SIGNS = "abcdefghijklmnopqrstuvwxyz,."
MERGES = ["r e", "re d</w>", "c i", "ci r", "t h", "th e</w>"]
VOCABULARY = [*SIGNS, *(f"{sign}</w>" for sign in SIGNS), *(merge.replace(" ", "") for merge in MERGES), "<|startoftext|>", "<|endoftext|>"]
TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


def fields(folder: Path) -> dict[str, str]:
    save_file({f"mps.{name}": tensor for name, tensor in state_dict().items()}, folder / "model.safetensors")
    clip = folder / "clip"
    config().save_pretrained(clip)
    (clip / "vocab.json").write_text(json.dumps({word: place for place, word in enumerate(VOCABULARY)}))
    (clip / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES]) + "\n")
    marks = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    (clip / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": LENGTH, **marks}))
    return {"pretrained": str(folder), "clip": str(clip), "condition": "light, color", "device": "cpu"}


def config() -> CLIPConfig:
    words = len(VOCABULARY)
    ends = {"vocab_size": words, "bos_token_id": words - 2, "eos_token_id": 2, "pad_token_id": 1, "max_position_embeddings": LENGTH}
    return CLIPConfig(
        text_config={**TOWER, **ends}, vision_config={**TOWER, "image_size": SIDE, "patch_size": 8}, projection_dim=WIDTH, hidden_act="gelu"
    )


def state_dict() -> dict[str, Tensor]:
    """The names of the authors' module."""
    generator = torch.Generator().manual_seed(3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        towers = lively(CLIPModel(config()))
    tensors = {f"model.{name}": tensor.clone() for name, tensor in towers.state_dict().items()}
    for layer in range(LAYERS):
        reading, mixing = f"cross_model.layers.{layer}.0.fn.", f"cross_model.layers.{layer}.1.fn."
        shapes = {
            f"{reading}to_q": (HEADS * HEAD_WIDTH, WIDTH),
            f"{reading}to_kv": (2 * HEAD_WIDTH, WIDTH),
            f"{reading}to_out": (WIDTH, HEADS * HEAD_WIDTH),
            f"{reading}ff.0": (2 * INNER, WIDTH),
            f"{reading}ff.2": (WIDTH, INNER),
            f"{mixing}fused_attn_ff_proj": (HEADS * HEAD_WIDTH + 2 * HEAD_WIDTH + 2 * INNER, WIDTH),
            f"{mixing}attn_out": (WIDTH, HEADS * HEAD_WIDTH),
            f"{mixing}ff_out.1": (WIDTH, INNER),
        }
        tensors |= {f"{name}.weight": torch.randn(shape, generator=generator) * shape[1] ** -0.5 for name, shape in shapes.items()}
        for norm in (f"{reading}norm", f"{mixing}norm"):
            tensors[f"{norm}.weight"] = 1 + 0.3 * torch.randn(WIDTH, generator=generator)
            tensors[f"{norm}.bias"] = torch.zeros(WIDTH)
        tensors[f"{mixing}rotary_emb.inv_freq"] = 10000.0 ** (-torch.arange(0, HEAD_WIDTH, 2) / HEAD_WIDTH)
    return tensors
