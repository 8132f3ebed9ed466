"""Which part of a picture a token stands for, found by painting on the picture and looking for the patches that change."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmalign.errors import UserError
from mmalign.pipelines.image_text_to_text import ImageTextToText
from mmalign.vlm.cells import grid_cells, within
from mmalign.vlm.encode import Response
from mmalign.vlm.family import VlmFamily
from tests.vlm.models import build, picture, turns

SIZES = [(60, 40), (40, 90), (64, 64)]


def encoded(vlm, image):
    return vlm.encoder(turns("Which is red?", 1), [Response("no")], [image])


def patches(vlm, row, tokens):
    """What each token is made of: (tokens, numbers)."""
    pixels = row.vision["pixel_values"]
    if "image_grid_thw" in row.vision:
        return pixels.reshape(tokens, -1)
    whole = pixels.flatten(0, pixels.ndim - 4)  # (tiles, 3, H, W)
    if "image_sizes" in row.vision:
        return in_models_order(vlm.model.model, squares(whole, 4), row.vision["image_sizes"])
    return squares(whole, round((tokens / len(whole)) ** 0.5)).flatten(0, 1)


def squares(tiles, side):
    """Tiles (n, 3, H, W) cut into squares, (n, side * side, numbers)."""
    step = tiles.shape[2] // side
    return tiles.unfold(2, step, step).unfold(3, step, step).permute(0, 2, 3, 1, 4, 5).flatten(1, 2).flatten(2)


def in_models_order(model, parts, sizes):
    """What the model itself makes of the parts of all tiles: padding left out, separators, here of zeros, put in."""
    strategy = {"vision_feature_select_strategy": "default"} if "Next" in type(model).__name__ else {"vision_aspect_ratio": "anyres_max_2"}
    packed, _ = model.pack_image_features([parts], sizes, image_newline=torch.zeros(parts.shape[-1]), **strategy)
    return packed[0]


@pytest.mark.parametrize("size", SIZES)
def test_paint_in_a_tokens_area_changes_the_token(vlm, size):
    plain = Image.new("RGB", size, (120, 120, 120))
    row = encoded(vlm, plain)
    if type(vlm.policy.family) is ImageTextToText:
        pytest.skip("it does not know")
    cells = vlm.policy.family.cells(row, 0, size)
    start, stop = row.spans[0]
    image = vlm.processor.tokenizer.convert_tokens_to_ids(vlm.processor.image_token)
    assert len(cells) == (row.prefix[start:stop] == image).sum()
    before = patches(vlm, row, len(cells))
    within_picture = (cells[:, 0] < 1).nonzero()[:, 0]
    for token in within_picture[torch.randperm(len(within_picture), generator=torch.Generator().manual_seed(0))[:6]].tolist():
        left, top, right, bottom = cells[token].tolist()
        pixels = np.asarray(plain).copy()
        x, y = round((left + right) / 2 * size[0]), round((top + bottom) / 2 * size[1])
        pixels[max(0, y - 1) : y + 1, max(0, x - 1) : x + 1] = (255, 0, 0)
        changed = (patches(vlm, encoded(vlm, Image.fromarray(pixels)), len(cells)) - before).abs().amax(1)
        assert changed[token] > 0.1 * changed.max()


def test_a_family_that_does_not_know_says_so(qwen):
    with pytest.raises(UserError, match="leave collages and pictures in pictures out"):
        VlmFamily(qwen.model, qwen.processor).cells(None, 0, (10, 10))


@pytest.mark.parametrize("name", ["llava_next", "llava_onevision"])
def test_separators_lie_beside_the_picture(name):
    vlm, size = build(name), (90, 40)
    row = encoded(vlm, Image.new("RGB", size))
    cells, (start, stop) = vlm.policy.family.cells(row, 0, size), row.spans[0]
    # made of the picture with white where separators are
    parts = squares(row.vision["pixel_values"].flatten(0, 1), 4)
    white = in_models_order(vlm.model.model, torch.ones_like(parts), row.vision["image_sizes"])
    assert len(cells) == stop - start
    assert ((cells[:, 0] >= 1) == (white == 0).all(1)).all()


def test_several_pictures_of_onevision_are_squares():
    vlm, images = build("llava_onevision"), [picture(0, 40, 60), picture(1)]
    row = vlm.encoder(turns("Which is red?", 2), [Response("no")], images)
    cells = vlm.policy.family.cells(row, 0, (60, 40))
    assert len(cells) == row.spans[0][1] - row.spans[0][0] == 17
    # padded to a square: the first row of four begins ten pixels above the picture
    torch.testing.assert_close(cells[0], torch.tensor([0.0, -0.25, 0.25, 0.125]))


def test_a_grid_covers_the_picture_once():
    cells = grid_cells(2, 3)
    areas = (cells[:, 2] - cells[:, 0]) * (cells[:, 3] - cells[:, 1])
    torch.testing.assert_close(areas, torch.full((6,), 1 / 6))
    torch.testing.assert_close(cells[4], torch.tensor([1 / 3, 1 / 2, 2 / 3, 1.0]))
    torch.testing.assert_close(within(cells, (0.5, 0.0, 1.0, 0.5))[4], torch.tensor([2 / 3, 1 / 4, 5 / 6, 1 / 2]))
