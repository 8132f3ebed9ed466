"""MPS: CLIP's two towers, and a cross model in which a picture's tokens read those words of the prompt that a condition is about."""

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmalign.errors import UserError
from mmalign.scorers.checkpoint import load_into, read_tensors

BUFFERS = ("position_ids", "rotary_emb.inv_freq")
"""In published files, and the same in every model."""


class Mps(nn.Module):
    """The two towers (``model``, a CLIPModel of transformers) and the cross model, under the published names."""

    def __init__(self, model: nn.Module, cross_model: nn.Module) -> None:
        super().__init__()
        self.model, self.cross_model = model, cross_model

    def read(self, tokens: Tensor) -> Tensor:
        """Projected features (U, L, D) of every token, for token ids (U, L)."""
        return self.model.text_projection(self.model.text_model(input_ids=tokens).last_hidden_state)

    def see(self, pixels: Tensor, words: Tensor, relevant: Tensor) -> Tensor:
        """What the first token of each picture has become (B, D), of pixels (B, 3, S, S), words (B, L, D) and which to read (B, L)."""
        seen = self.model.visual_projection(self.model.vision_model(pixel_values=pixels).last_hidden_state)
        return self.cross_model(seen, words, relevant)[:, 0]


def relevance(words: Tensor, condition: Tensor) -> Tensor:
    """How much each word (U, L, D) is about a condition (C, D): its best product with it, as a share of the prompt's best; (U, L)."""
    best = (words.float() @ condition.float().mT).amax(-1)
    return best / best.amax(-1, keepdim=True)


class CrossModel(nn.Module):
    """Layers in which tokens (B, N, D) read words (B, L, D), then one another.

    Args:
        layers: how many.
        width: D.
        heads: of the queries; keys and values have one for all.
        head_width: numbers per head.
        inner: numbers inside a feed-forward part.
    """

    def __init__(self, layers: int, width: int, heads: int, head_width: int, inner: int) -> None:
        super().__init__()
        shape = (width, heads, head_width, inner)
        self.layers = nn.ModuleList(nn.ModuleList([Reading(*shape), Mixing(*shape)]) for _ in range(layers))

    def forward(self, tokens: Tensor, words: Tensor, relevant: Tensor) -> Tensor:
        for reading, mixing in self.layers:
            tokens = mixing(reading(tokens, words, relevant))
        return tokens


class SwiGlu(nn.Module):
    """silu(second half) times first half."""

    def forward(self, x: Tensor) -> Tensor:
        value, gate = x.chunk(2, dim=-1)
        return F.silu(gate) * value


class Reading(nn.Module):
    """Cross-attention and a feed-forward part side by side."""

    def __init__(self, width: int, heads: int, head_width: int, inner: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, heads * head_width, bias=False)
        self.to_kv = nn.Linear(width, 2 * head_width, bias=False)
        self.to_out = nn.Linear(heads * head_width, width, bias=False)
        self.ff = nn.Sequential(nn.Linear(width, 2 * inner, bias=False), SwiGlu(), nn.Linear(inner, width, bias=False))

    def forward(self, tokens: Tensor, words: Tensor, relevant: Tensor) -> Tensor:
        normed = self.norm(tokens)
        key, value = self.to_kv(words).chunk(2, dim=-1)
        query = self.to_q(normed).unflatten(-1, (-1, key.shape[-1])).transpose(1, 2)
        return tokens + self.to_out(_attend(query, key, value, relevant[:, None, None])) + self.ff(normed)


class Mixing(nn.Module):
    """Self-attention with rotary positions and a feed-forward part side by side, from one projection (PaLM)."""

    def __init__(self, width: int, heads: int, head_width: int, inner: int) -> None:
        super().__init__()
        self.parts = (heads * head_width, head_width, head_width, 2 * inner)
        self.norm = nn.LayerNorm(width)
        self.fused_attn_ff_proj = nn.Linear(width, sum(self.parts), bias=False)
        self.attn_out = nn.Linear(heads * head_width, width, bias=False)
        self.ff_out = nn.Sequential(SwiGlu(), nn.Linear(inner, width, bias=False))

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value, inner = self.fused_attn_ff_proj(self.norm(tokens)).split(self.parts, dim=-1)
        query = _rotated(query.unflatten(-1, (-1, key.shape[-1])).transpose(1, 2))
        return tokens + self.attn_out(_attend(query, _rotated(key), value)) + self.ff_out(inner)


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention (B, N, H*W) of queries (B, H, N, W) to keys and values (B, M, W) that all heads share."""
    key, value = (x[:, None].expand(-1, query.shape[1], -1, -1) for x in (key, value))
    return F.scaled_dot_product_attention(query, key, value, mask).transpose(1, 2).flatten(2)


def _rotated(x: Tensor) -> Tensor:
    """Rotary positions along the next to last dimension of (..., N, W): the pairs are a number and the one W/2 further."""
    length, width = x.shape[-2:]
    speeds = 10000 ** (-torch.arange(0, width, 2, device=x.device).float() / width)
    angles = torch.arange(length, device=x.device).float()[:, None] * speeds
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def load_mps(path: Path, config: object) -> Mps:
    """A model from its state dict: that of the authors' module, or imscore's with ``mps.`` before each name.

    Args:
        config: the CLIPConfig of the towers.

    Raises:
        UserError: the file is damaged, a pickle of objects, or of another model.
    """
    from transformers import CLIPModel

    # a residual connection is a module of its own there
    tensors = {name.removeprefix("mps.").replace(".fn.", "."): value for name, value in read_tensors(path).items()}
    with torch.device("meta"):
        model = Mps(CLIPModel(config), CrossModel(**_cross_shape(tensors, path)))
    load_into(model, tensors, path, BUFFERS)
    for embeddings in (model.model.text_model.embeddings, model.model.vision_model.embeddings):
        embeddings.position_ids = torch.arange(embeddings.position_ids.shape[-1])[None]
    return model


def _cross_shape(tensors: Mapping[str, Tensor], path: Path) -> dict[str, int]:
    try:
        query, keys, inner = (tensors[f"cross_model.layers.0.0.{name}.weight"] for name in ("to_q", "to_kv", "ff.2"))
    except KeyError as error:
        raise UserError(f"{path} is not a checkpoint of MPS: it has no tensor {error}; give the published file") from error
    layers = sum(name.startswith("cross_model.layers.") and name.endswith(".to_q.weight") for name in tensors)
    head_width = max(1, keys.shape[0] // 2)
    width = query.shape[1]
    return {"layers": layers, "width": width, "heads": query.shape[0] // head_width, "head_width": head_width, "inner": inner.shape[1]}
