"""A tiny ImageReward: the published names, two vision blocks, two text layers, BERT's tokenizer with few words."""

import json
from pathlib import Path

import torch
from torch import Tensor

WORDS = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] a large small red blue yellow purple circle cross square triangle on the at left right top bottom in"
)
WORDS = (WORDS + " center of background gray white cyan pink , . ##s ##le").split()
SIDE, PATCH, VISION, TEXT, HEADS, LENGTH = 224, 16, 128, 24, 3, 40
HEAD = (TEXT, 32, 16, 8, 4, 1)
CONFIG = {
    "architectures": ["BertModel"],
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": TEXT,
    "initializer_range": 0.02,
    "intermediate_size": 4 * TEXT,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": LENGTH,
    "model_type": "bert",
    "num_attention_heads": HEADS,
    "num_hidden_layers": 2,
    "pad_token_id": 0,
    "type_vocab_size": 2,
    "vocab_size": len(WORDS) + 2,
    "encoder_width": 768,
    "add_cross_attention": True,
}


def fields(folder: Path) -> dict[str, str]:
    torch.save(state_dict(), folder / "ImageReward.pt")
    (folder / "med_config.json").write_text(json.dumps(CONFIG))
    bert = folder / "bert-base-uncased"
    bert.mkdir()
    (bert / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (bert / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "model_max_length": 512}))
    return {"pretrained": str(folder), "tokenizer": str(bert), "device": "cpu"}


def state_dict() -> dict[str, Tensor]:
    """The published names in the published order."""
    generator = torch.Generator().manual_seed(0)
    tensors: dict[str, Tensor] = {}

    def add(name: str, *shape: int, scale: float | None = None) -> None:
        scale = shape[-1] ** -0.5 if scale is None else scale
        tensors[name] = torch.randn(*shape, generator=generator) * scale

    def linear(name: str, inputs: int, outputs: int) -> None:
        add(f"{name}.weight", outputs, inputs)
        add(f"{name}.bias", outputs, scale=0.3)

    def norm(name: str, width: int) -> None:
        add(f"{name}.weight", width, scale=0.3)
        tensors[f"{name}.weight"] += 1
        add(f"{name}.bias", width, scale=0.3)

    _vision(tensors, add, linear, norm)
    _text(tensors, add, linear, norm)
    linear("blip.vision_proj", VISION, 256)
    linear("blip.text_proj", TEXT, 256)
    for place, inputs, outputs in zip((0, 2, 4, 6, 7), HEAD[:-1], HEAD[1:], strict=True):
        linear(f"mlp.layers.{place}", inputs, outputs)
    return tensors


def _vision(tensors, add, linear, norm) -> None:
    start = "blip.visual_encoder."
    add(f"{start}cls_token", 1, 1, VISION, scale=1.0)
    add(f"{start}pos_embed", 1, 1 + (SIDE // PATCH) ** 2, VISION, scale=1.0)
    add(f"{start}patch_embed.proj.weight", VISION, 3, PATCH, PATCH, scale=0.1)
    add(f"{start}patch_embed.proj.bias", VISION, scale=0.3)
    for block in range(2):
        name = f"{start}blocks.{block}."
        norm(f"{name}norm1", VISION)
        linear(f"{name}attn.qkv", VISION, 3 * VISION)
        linear(f"{name}attn.proj", VISION, VISION)
        norm(f"{name}norm2", VISION)
        linear(f"{name}mlp.fc1", VISION, 4 * VISION)
        linear(f"{name}mlp.fc2", 4 * VISION, VISION)
    norm(f"{start}norm", VISION)


def _text(tensors, add, linear, norm) -> None:
    start = "blip.text_encoder."
    tensors[f"{start}embeddings.position_ids"] = torch.arange(LENGTH)[None]
    add(f"{start}embeddings.word_embeddings.weight", CONFIG["vocab_size"], TEXT, scale=1.0)
    add(f"{start}embeddings.position_embeddings.weight", LENGTH, TEXT, scale=1.0)
    norm(f"{start}embeddings.LayerNorm", TEXT)
    for layer in range(CONFIG["num_hidden_layers"]):
        name = f"{start}encoder.layer.{layer}."
        for kind, width in (("attention", TEXT), ("crossattention", VISION)):
            for part, inputs in (("query", TEXT), ("key", width), ("value", width)):
                linear(f"{name}{kind}.self.{part}", inputs, TEXT)
            linear(f"{name}{kind}.output.dense", TEXT, TEXT)
            norm(f"{name}{kind}.output.LayerNorm", TEXT)
        linear(f"{name}intermediate.dense", TEXT, 4 * TEXT)
        linear(f"{name}output.dense", 4 * TEXT, TEXT)
        norm(f"{name}output.LayerNorm", TEXT)
