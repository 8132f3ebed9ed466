"""A tiny HPSv3.safetensors, named as transformers 4.45 did, and a base folder that holds no weights."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from mmalign.scorers.hpsv3_instruction import INSTRUCTION
from tests.tiny_vlms import CORPUS, build


def fields(folder: Path) -> dict:
    model, processor = build("qwen2_vl", corpus=[*CORPUS, INSTRUCTION])
    model.config.save_pretrained(folder / "base")
    processor.save_pretrained(folder / "base")
    model.resize_token_embeddings(len(processor.tokenizer) + 1)
    torch.manual_seed(1)
    head = nn.Sequential(nn.Linear(32, 1024), nn.ReLU(), nn.Dropout(), nn.Linear(1024, 16), nn.ReLU(), nn.Linear(16, 2))
    tensors = {_published(name): tensor.contiguous().clone() for name, tensor in model.state_dict().items()}
    save_file({**tensors, **{f"rm_head.{name}": tensor for name, tensor in head.state_dict().items()}}, folder / "HPSv3.safetensors")
    return {"pretrained": str(folder), "base": str(folder / "base"), "dtype": "float32"}


def _published(name: str) -> str:
    return name.replace("model.visual.", "visual.").replace("model.language_model.", "model.")
