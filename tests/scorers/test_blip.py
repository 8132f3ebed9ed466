"""BLIP's encoder: what its output depends on, and how a checkpoint says its shape."""

from pathlib import Path

import pytest
import torch

from mmalign.errors import UserError
from mmalign.scorers.blip import BlipEncoder, resize_positions, vision_shape

VISION = {"img_size": 32, "patch_size": 16, "embed_dim": 128, "depth": 1, "num_heads": 2}
TEXT = {
    "vocab_size": 20,
    "hidden_size": 24,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "max_position_embeddings": 12,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}


@pytest.fixture(scope="module")
def encoder():
    generator = torch.Generator().manual_seed(0)
    encoder = BlipEncoder(VISION, TEXT).eval().requires_grad_(False)
    for parameter in encoder.parameters():  # unset until a checkpoint is loaded
        parameter.normal_(std=parameter.shape[-1] ** -0.5, generator=generator)
    return encoder


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_padding_is_not_read(encoder, pixels):
    long = encoder(pixels, torch.tensor([[2, 5, 6, 3, 7, 8]] * 2), torch.tensor([[1, 1, 1, 1, 0, 0]] * 2))
    torch.testing.assert_close(long, encoder(pixels, torch.tensor([[2, 5, 6, 3]] * 2), torch.ones(2, 4, dtype=torch.long)))


def test_the_first_token_reads_later_ones_and_the_picture(encoder, pixels):
    mask = torch.ones(2, 3, dtype=torch.long)
    read = encoder(pixels[:1].expand(2, -1, -1, -1), torch.tensor([[2, 5, 3], [2, 6, 3]]), mask)
    assert (read[0] - read[1]).abs().max() > 1e-3
    seen = encoder(pixels, torch.tensor([[2, 5, 3]] * 2), mask)
    assert (seen[0] - seen[1]).abs().max() > 1e-3


def test_a_checkpoint_says_its_shape(encoder):
    assert vision_shape(encoder.state_dict(), Path("x.pt"), "visual_encoder.", image_size=32) == VISION
    with pytest.raises(UserError, match=r"x\.pt is no BLIP checkpoint: it has no tensor 'blip\.patch_embed"):
        vision_shape(encoder.state_dict(), Path("x.pt"), "blip.")


def test_position_embeddings_of_the_same_size_stay_and_a_plane_stays_a_plane():
    row = torch.arange(8.0)
    plane = torch.stack([row[:, None].expand(8, 8), row.expand(8, 8)], dim=-1).reshape(1, 64, 2)
    positions = torch.cat([torch.tensor([[[100.0, 200.0]]]), plane], dim=1)
    assert resize_positions(positions, 128, 16) is positions
    halved = resize_positions(positions, 64, 16)
    assert torch.equal(halved[:, 0], positions[:, 0])
    # each new center lies between two old ones: 0.5, 2.5, 4.5, 6.5; the rows next to an edge also take in its repetition
    grid = halved[0, 1:].reshape(4, 4, 2)
    torch.testing.assert_close(grid[1:3, 1:3, 0], torch.tensor([[2.5, 2.5], [4.5, 4.5]]))
    torch.testing.assert_close(grid[1:3, 1:3, 1], torch.tensor([[2.5, 4.5], [2.5, 4.5]]))
