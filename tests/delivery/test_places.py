"""The published layouts: names against diffusers' own converters from published checkpoints, of whole models."""

import re
from types import SimpleNamespace

import pytest
import torch
from accelerate import init_empty_weights
from diffusers import FluxTransformer2DModel, UNet2DConditionModel
from diffusers.loaders import single_file_utils
from torch import nn

from mmalign.delivery.places import LAYOUTS, place_of
from mmalign.delivery.readers import READERS, readers_of
from mmalign.errors import UserError
from tests import tiny
from tests.tiny_families import EVERY

SDXL = {
    "block_out_channels": (32, 64, 128),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 2,
    "transformer_layers_per_block": (1, 2, 3),
    "attention_head_dim": 8,
    "cross_attention_dim": 16,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 64,
}
FLUX = {
    "num_layers": 2,
    "num_single_layers": 3,
    "attention_head_dim": 8,
    "num_attention_heads": 2,
    "joint_attention_dim": 16,
    "pooled_projection_dim": 16,
    "axes_dims_rope": (2, 2, 4),
}


class Filled(dict):
    """A checkpoint in which what is asked for and not there is a small tensor of no interest."""

    def __missing__(self, key):
        return torch.zeros(12, 1)

    def pop(self, key, *default):
        return super().pop(key) if key in self else self[key]

    def get(self, key, default=None):
        return self[key]


def layers(module, pattern="."):
    return [
        path
        for path, part in module.named_modules()
        if isinstance(part, nn.Linear | nn.Conv2d) and re.search(pattern, path) and not path.endswith("conv_shortcut2")
    ]


def published(paths, pipeline, config, rows=3):
    """A checkpoint in the published layout, in which each diffusers layer is some rows of its own number."""
    numbers, checkpoint = {path: float(number + 1) for number, path in enumerate(paths)}, {}
    for path in paths:
        place = place_of(path, pipeline, config)
        parts = [torch.full((4 * rows if part.endswith("proj_mlp") else rows, 1), numbers[part]) for part in place.parts]
        checkpoint[f"{place.name}.weight"] = torch.cat(parts)
    return numbers, checkpoint


def test_every_layer_of_an_sdxl_unet_is_where_the_published_checkpoint_has_it():
    with init_empty_weights():
        unet = UNet2DConditionModel(**SDXL)
    paths = layers(unet)
    numbers, checkpoint = published(paths, "StableDiffusionXLPipeline", unet.config)
    assert len(checkpoint) == len(paths)
    for name in list(checkpoint):
        checkpoint[name.removesuffix("weight") + "bias"] = torch.zeros(1)
    config = dict(unet.config) | {"class_embed_type": None, "addition_embed_type": "text_time"}
    back = single_file_utils.convert_ldm_unet_checkpoint(
        Filled({f"model.diffusion_model.{name}": value for name, value in checkpoint.items()}), config
    )
    assert {path: back[f"{path}.weight"][0].item() for path in paths} == numbers


def test_sd3s_queries_keys_and_values_are_where_the_published_checkpoint_has_them():
    transformer = tiny.sd3().transformer
    wanted = r"transformer_blocks\.\d\.(attn\.(to|add)_.*|ff.*net.*)"
    paths = layers(transformer, wanted)
    numbers, checkpoint = published(paths, "StableDiffusion3Pipeline", transformer.config)
    assert {name for name in checkpoint if "qkv" in name} == {
        f"joint_blocks.{block}.{side}_block.attn.qkv.weight" for block in (0, 1) for side in ("x", "context")
    }
    back = single_file_utils.convert_sd3_transformer_checkpoint_to_diffusers(
        Filled({f"model.diffusion_model.{name}": value for name, value in checkpoint.items()})
    )
    assert {path: back[f"{path}.weight"][0].item() for path in paths} == numbers


def test_every_layer_of_a_flux_block_is_where_the_published_checkpoint_has_it():
    with init_empty_weights():
        transformer = FluxTransformer2DModel(**FLUX)
    wanted = r"transformer_blocks\.\d\.(attn\.(to|add)_.*|ff.*net.*|proj_.*)"
    paths = layers(transformer, wanted)
    numbers, checkpoint = published(paths, "FluxPipeline", transformer.config, rows=3072)  # the width that the converter knows
    assert len(checkpoint) == 2 * 8 + 3 * 2
    biases = {f"single_blocks.{block}.linear1.bias": torch.zeros(7 * 3072) for block in range(3)}
    back = single_file_utils.convert_flux_transformer_checkpoint_to_diffusers(Filled(checkpoint | biases))
    assert {path: back[f"{path}.weight"][0].item() for path in paths} == numbers


def test_stable_diffusion_keeps_diffusers_names():
    path = "down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_out.0"
    assert place_of(path, "StableDiffusionPipeline", None).name == path


@pytest.mark.parametrize(
    ("path", "place"),
    [  # as in the state dict of sd_xl_base_1.0
        ("down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q", "input_blocks.4.1.transformer_blocks.0.attn1.to_q"),
        ("down_blocks.2.attentions.1.transformer_blocks.9.attn2.to_k", "input_blocks.8.1.transformer_blocks.9.attn2.to_k"),
        ("mid_block.attentions.0.transformer_blocks.3.ff.net.2", "middle_block.1.transformer_blocks.3.ff.net.2"),
        ("up_blocks.0.attentions.2.proj_out", "output_blocks.2.1.proj_out"),
        ("up_blocks.1.upsamplers.0.conv", "output_blocks.5.2.conv"),
        ("down_blocks.0.downsamplers.0.conv", "input_blocks.3.0.op"),
        ("up_blocks.2.resnets.0.conv_shortcut", "output_blocks.6.0.skip_connection"),
    ],
)
def test_the_published_names_of_sdxl(path, place):
    config = SimpleNamespace(layers_per_block=2, up_block_types=SDXL["up_block_types"])
    assert place_of(path, "StableDiffusionXLPipeline", config).name == place


def test_what_has_no_place_is_said():
    with pytest.raises(UserError, match="norm_out.linear has no equal"):
        place_of("norm_out.linear", "StableDiffusion3Pipeline", None)


def test_every_layer_of_a_wan_block_is_where_the_published_checkpoint_has_it():
    transformer = EVERY["wan"]().transformer
    paths = layers(transformer, r"blocks\.\d\.(attn|ffn)|condition_embedder|proj_out")
    numbers, checkpoint = published(paths, "WanPipeline", transformer.config)
    back = single_file_utils.convert_wan_transformer_to_diffusers(dict(checkpoint))
    assert {path: back[f"{path}.weight"][0].item() for path in paths} == numbers


@pytest.mark.parametrize(
    ("path", "place", "parts"),
    [  # as in the state dict of PixArt-Sigma-XL-2-1024-MS
        ("transformer_blocks.3.attn1.to_k", "blocks.3.attn.qkv", ["attn1.to_q", "attn1.to_k", "attn1.to_v"]),
        ("transformer_blocks.3.attn2.to_v", "blocks.3.cross_attn.kv_linear", ["attn2.to_k", "attn2.to_v"]),
        ("transformer_blocks.3.attn2.to_q", "blocks.3.cross_attn.q_linear", ["attn2.to_q"]),
        ("transformer_blocks.3.ff.net.0.proj", "blocks.3.mlp.fc1", ["ff.net.0.proj"]),
    ],
)
def test_the_published_names_of_pixart(path, place, parts):
    found = place_of(path, "PixArtSigmaPipeline", None)
    assert (found.name, found.parts) == (place, tuple(f"transformer_blocks.3.{part}" for part in parts))


def test_what_no_program_reads_is_refused_with_what_is():
    with pytest.raises(UserError, match="ComfyUI has no model of SanaPipeline's kind.*; export diffusers or merged"):
        readers_of("comfyui", "SanaPipeline")
    with pytest.raises(
        UserError, match="sd-scripts and musubi-tuner have no model of PixArtSigmaPipeline's kind.*; export comfyui or merged"
    ):
        readers_of("kohya", "PixArtSigmaPipeline")


@pytest.mark.parametrize("form", READERS)
def test_every_layout_that_is_read_is_known(form):
    assert READERS[form].keys() <= LAYOUTS.keys()
