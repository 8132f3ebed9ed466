"""Where a layer of a diffusers denoiser is in the layout that the model was published in.

kohya's sd-scripts, ComfyUI and the others that grew around the published checkpoints name a LoRA's tensors after these layouts. The names
here were written down from diffusers' converters and from the key maps of ComfyUI (``comfy/utils.py``), sd-scripts
(``library/sdxl_model_util.py``, ``networks/lora_sd3.py``, ``networks/lora_flux.py``) and musubi-tuner (``networks/lora_wan.py``).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mmalign.errors import UserError

RESNET = {"conv1": "in_layers.2", "conv2": "out_layers.3", "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection"}
OUTER = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}


@dataclass(frozen=True)
class Place:
    """A layer of the published layout.

    Attributes:
        name: its dotted path there.
        parts: paths of the diffusers layers that it holds, one above the other along its outputs; most hold one.
    """

    name: str
    parts: tuple[str, ...]


Layout = Callable[[str, Any], Place | None]
"""Gives the place of a layer of a denoiser with this configuration; None = the layout has no such layer."""


def same(path: str, config: Any) -> Place:
    """Stable Diffusion 1 and 2, whose layers sd-scripts names as diffusers does; and Qwen-Image, which was published in diffusers' form."""
    return Place(path, (path,))


def sgm(path: str, config: Any) -> Place | None:
    """Stable Diffusion XL: the UNet of Stability's generative-models, whose blocks are numbered through."""
    if path in OUTER:
        return Place(OUTER[path], (path,))
    if (found := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)", path)) is not None:
        kind, index, rest = found.groups()
        number = 1 if kind == "attentions" else 2 * int(index)
        return _in_block(f"middle_block.{number}", kind, rest, path)
    found = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)", path)
    if found is None:
        return None
    side, block, kind, index, rest = found.groups()
    down, layers = side == "down", config.layers_per_block + 1
    if kind in ("resnets", "attentions"):
        number = int(block) * layers + int(index) + down
        return _in_block(f"{'input' if down else 'output'}_blocks.{number}.{int(kind == 'attentions')}", kind, rest, path)
    if down:
        return Place(f"input_blocks.{(int(block) + 1) * layers}.0.op", (path,))
    inside = 1 + ("CrossAttn" in config.up_block_types[int(block)])
    return Place(f"output_blocks.{int(block) * layers + layers - 1}.{inside}.conv", (path,))


def _in_block(name: str, kind: str, rest: str, path: str) -> Place | None:
    if kind == "attentions":
        return Place(f"{name}.{rest}", (path,))
    return Place(f"{name}.{RESNET[rest]}", (path,)) if rest in RESNET else None


SD3_ALONE = {
    "attn.to_out.0": "x_block.attn.proj",
    "attn2.to_out.0": "x_block.attn2.proj",
    "attn.to_add_out": "context_block.attn.proj",
    "ff.net.0.proj": "x_block.mlp.fc1",
    "ff.net.2": "x_block.mlp.fc2",
    "ff_context.net.0.proj": "context_block.mlp.fc1",
    "ff_context.net.2": "context_block.mlp.fc2",
}
SD3_TOGETHER = {
    "x_block.attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "x_block.attn2.qkv": ("attn2.to_q", "attn2.to_k", "attn2.to_v"),
    "context_block.attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
}
FLUX_ALONE = {
    "attn.to_out.0": "img_attn.proj",
    "attn.to_add_out": "txt_attn.proj",
    "ff.net.0.proj": "img_mlp.0",
    "ff.net.2": "img_mlp.2",
    "ff_context.net.0.proj": "txt_mlp.0",
    "ff_context.net.2": "txt_mlp.2",
}
FLUX_TOGETHER = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
}
FLUX_SINGLE_TOGETHER = {"linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")}
PIXART_OUTER = {"proj_out": "final_layer.linear", "adaln_single.linear": "t_block.1", "pos_embed.proj": "x_embedder.proj"}
PIXART_ALONE = {
    "attn1.to_out.0": "attn.proj",
    "attn2.to_q": "cross_attn.q_linear",
    "attn2.to_out.0": "cross_attn.proj",
    "ff.net.0.proj": "mlp.fc1",
    "ff.net.2": "mlp.fc2",
}
PIXART_TOGETHER = {
    "attn.qkv": ("attn1.to_q", "attn1.to_k", "attn1.to_v"),
    "cross_attn.kv_linear": ("attn2.to_k", "attn2.to_v"),
}
WAN_OUTER = {
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "proj_out": "head.head",
}
WAN_ALONE = {
    **{f"{own}.to_{part}": f"{theirs}.{part}" for own, theirs in (("attn1", "self_attn"), ("attn2", "cross_attn")) for part in "qkv"},
    "attn1.to_out.0": "self_attn.o",
    "attn2.to_out.0": "cross_attn.o",
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
}


def sd3(path: str, config: Any) -> Place | None:
    """Stable Diffusion 3: joint blocks with an image and a context half, whose queries, keys and values are one layer."""
    return _in_numbered(path, "transformer_blocks", "joint_blocks", SD3_ALONE, SD3_TOGETHER)


def flux(path: str, config: Any) -> Place | None:
    """FLUX.1: double blocks with an image and a text half, and single blocks whose first layer holds the feed-forward part too."""
    return _in_numbered(path, "transformer_blocks", "double_blocks", FLUX_ALONE, FLUX_TOGETHER) or _in_numbered(
        path, "single_transformer_blocks", "single_blocks", {"proj_out": "linear2"}, FLUX_SINGLE_TOGETHER
    )


def pixart(path: str, config: Any) -> Place | None:
    """PixArt-Sigma: queries, keys and values of a picture are one layer, keys and values of its text another."""
    if path in PIXART_OUTER:
        return Place(PIXART_OUTER[path], (path,))
    return _in_numbered(path, "transformer_blocks", "blocks", PIXART_ALONE, PIXART_TOGETHER)


def wan(path: str, config: Any) -> Place | None:
    """Wan 2: the layers of diffusers' model, each with a name of its own."""
    return Place(WAN_OUTER[path], (path,)) if path in WAN_OUTER else _in_numbered(path, "blocks", "blocks", WAN_ALONE, {})


def _in_numbered(path: str, blocks: str, published: str, alone: Mapping[str, str], together: Mapping[str, tuple[str, ...]]) -> Place | None:
    """The place of a layer in a numbered block: alone, or as a part of a layer that holds several."""
    found = re.fullmatch(rf"({blocks}\.(\d+)\.)(.+)", path)
    if found is None:
        return None
    block, index, inside = found.groups()
    if inside in alone:
        return Place(f"{published}.{index}.{alone[inside]}", (path,))
    name = next((name for name, parts in together.items() if inside in parts), None)
    return None if name is None else Place(f"{published}.{index}.{name}", tuple(f"{block}{part}" for part in together[name]))


LAYOUTS: dict[str, Layout] = {
    "StableDiffusionPipeline": same,
    "StableDiffusionXLPipeline": sgm,
    "StableDiffusion3Pipeline": sd3,
    "FluxPipeline": flux,
    "PixArtSigmaPipeline": pixart,
    "QwenImagePipeline": same,
    "WanPipeline": wan,
}
"""By the class of the pipeline."""


def place_of(path: str, pipeline: str, config: Any) -> Place:
    """Where a layer is in the published layout.

    Args:
        pipeline: one of ``LAYOUTS``.

    Raises:
        UserError: the layer has no equal there.
    """
    place = LAYOUTS[pipeline](path, config)
    if place is None:
        raise UserError(f"the layer {path} has no equal in the published layout of {pipeline}; export diffusers or merged")
    return place
