"""The second attention by hand: one query, one head and one token at a time, on the attentions of SD3.5."""

import logging

import pytest
import torch
from diffusers import SD3Transformer2DModel
from torch.testing import assert_close

from mmalign.personalization import UserConditioner
from tests.personalization.drawing import users

HEADS, DIM = 4, 8


@pytest.fixture
def transformer():
    """As in SD3.5 Medium: normalized queries and keys, and a second attention of pictures alone in the first block."""
    torch.manual_seed(0)
    sizes = {"caption_projection_dim": HEADS * DIM, "joint_attention_dim": 16, "pooled_projection_dim": 16, "pos_embed_max_size": 16}
    return SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=DIM,
        num_attention_heads=HEADS,
        dual_attention_layers=(0,),
        qk_norm="rms_norm",
        **sizes,
    )


def learned(denoiser):
    torch.manual_seed(3)
    made = UserConditioner.fitting(denoiser, 3, 5, dim=6, users=users())
    for value in made.values.values():
        torch.nn.init.normal_(value.weight, std=0.5)
    return made.attach(denoiser)


@torch.no_grad()
def test_what_is_added_is_softmax_of_products_times_values(transformer):
    attn = transformer.transformer_blocks[0].attn
    torch.nn.init.normal_(attn.norm_q.weight)
    picture, text = torch.randn(2, 5, HEADS * DIM), torch.randn(2, 3, HEADS * DIM)
    before = attn(picture, text)
    made = learned(transformer)
    made.scale = 0.7
    tokens = made.given(["ann", "ben"])
    after = attn(picture, text, ip_hidden_states=(tokens, torch.full((2, 1, 1), 0.7)))
    assert torch.equal(after[1], before[1])  # the text's stream knows no user
    key, value = (layers["transformer_blocks-0-attn"].weight for layers in (made.keys, made.values))
    added = torch.zeros(2, 5, HEADS * DIM)
    for row in range(2):
        for place in range(5):
            for head in range(HEADS):
                part = slice(head * DIM, (head + 1) * DIM)
                query = (attn.to_q.weight @ picture[row, place] + attn.to_q.bias)[part]
                query = query / (query.square().mean() + attn.norm_q.eps).sqrt() * attn.norm_q.weight
                keys = [(key @ token)[part] for token in tokens[row]]
                keys = [one / one.square().mean().sqrt() for one in keys]
                weights = torch.stack([query @ one / DIM**0.5 for one in keys]).softmax(0)
                added[row, place, part] = sum(weight * (value @ token)[part] for weight, token in zip(weights, tokens[row], strict=True))
    assert_close(after[0] - before[0], 0.7 * added @ attn.to_out[0].weight.T, atol=1e-5, rtol=1e-4)


def test_the_second_attention_of_pictures_alone_knows_nobody_and_says_nothing(transformer, caplog, monkeypatch):
    said = {"hidden_states": torch.randn(2, 4, 8, 8), "encoder_hidden_states": torch.randn(2, 3, 16), "timestep": torch.tensor([10, 500])}
    said["pooled_projections"] = torch.randn(2, 16)
    monkeypatch.setattr(logging.getLogger("diffusers"), "propagate", True)
    with torch.no_grad(), caplog.at_level(logging.WARNING, logger="diffusers"):
        base = transformer(**said).sample
        made = learned(transformer)
        told = transformer(**said, joint_attention_kwargs={"user": ["ann", None]}).sample
    assert set(made.shape.layers) == {"transformer_blocks.0.attn", "transformer_blocks.1.attn"}
    assert torch.equal(told[1], base[1])
    assert not torch.allclose(told[0], base[0], atol=1e-3)
    assert "ignored" not in caplog.text
