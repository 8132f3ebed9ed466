"""Tiny CLIP-type models with random weights, in the formats of the libraries that publish them."""

import json
import string
from pathlib import Path

import torch
from open_clip import CLIP
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer, Siglip2Config, Siglip2Model, SiglipConfig, SiglipModel

SIDE = 32
TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
TEXT = {**TOWER, "vocab_size": 400, "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
VISION = {**TOWER, "image_size": SIDE, "patch_size": 8}

CLIP_NUMBERS = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
CLIP_RECIPE = {
    "image_processor_type": "CLIPImageProcessor",
    "size": {"shortest_edge": SIDE},
    "crop_size": {"height": SIDE, "width": SIDE},
    "do_center_crop": True,
    "resample": 3,
    **CLIP_NUMBERS,
}
SIGLIP_RECIPE = {
    "image_processor_type": "SiglipImageProcessor",
    "size": {"height": SIDE, "width": SIDE},
    "resample": 3,
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
}
SIGLIP2_RECIPE = {
    "image_processor_type": "Siglip2ImageProcessor",
    "patch_size": 8,
    "max_num_patches": 20,
    "resample": 2,
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
}
OPEN_CLIP_ARCH = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": SIDE, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}


def lively(model: nn.Module, seed: int = 0) -> nn.Module:
    """Weights large enough that pictures and texts of a random model differ; the temperature is the published 100."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            one = parameter.ndim == 1 and name.endswith("weight")  # of a layer norm
            parameter.copy_(one + (0.2 if parameter.ndim > 1 else 0.1) * noise)
        model.logit_scale.fill_(100).log_()
    return model.eval()


def clip(folder: Path) -> CLIPModel:
    """A CLIPModel in ``folder``, with its tokenizer and image processor."""
    model = lively(CLIPModel(CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=24)))
    return _saved(model, folder, CLIP_RECIPE)


def siglip(folder: Path) -> SiglipModel:
    """A SiglipModel in ``folder``, with its tokenizer and image processor."""
    return _saved(
        lively(SiglipModel(SiglipConfig(text_config={**TEXT, "projection_size": 32}, vision_config=VISION))), folder, SIGLIP_RECIPE
    )


def siglip2(folder: Path) -> Siglip2Model:
    """A Siglip2Model, which takes pictures of any aspect, in ``folder`` with its tokenizer and image processor."""
    vision = {**TOWER, "num_patches": 16, "patch_size": 8}
    model = lively(Siglip2Model(Siglip2Config(text_config={**TEXT, "projection_size": 32}, vision_config=vision)))
    return _saved(model, folder, SIGLIP2_RECIPE)


def open_clip_model() -> nn.Module:
    """A model of open_clip."""
    return lively(CLIP(**OPEN_CLIP_ARCH))


def open_clip(folder: Path, **recipe) -> nn.Module:
    """A model of open_clip in ``folder``, as open_clip publishes them."""
    model = open_clip_model()
    folder.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": OPEN_CLIP_ARCH, "preprocess_cfg": recipe}))
    return model


def tokenizer() -> CLIPTokenizer:
    """One token for every letter: a vocabulary that is trained comes out differently each time."""
    ends = ["<|startoftext|>", "<|endoftext|>"]
    letters = [letter + end for letter in string.ascii_lowercase + string.digits + string.punctuation for end in ("", "</w>")]
    return CLIPTokenizer(vocab={token: place for place, token in enumerate(ends + letters)}, merges=[], model_max_length=16)


def processor(folder: Path, recipe: dict) -> None:
    """A tokenizer and an image processor in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(recipe))


def _saved(model, folder: Path, recipe: dict):
    model.save_pretrained(folder)
    processor(folder, recipe)
    return model
