"""Pixels against PIL's, and what candidates share."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmalign.data import Example
from mmalign.data.transforms import transform
from mmalign.errors import UserError


def noise(height, width, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))


def pixels_of(image):
    return torch.from_numpy(np.asarray(image, dtype=np.float32) / 127.5 - 1).permute(2, 0, 1)


SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))
PLACES = st.tuples(st.floats(0, 1), st.floats(0, 1))


def test_values_are_those_of_pil():
    image = noise(50, 80)
    pixels, [geometry] = transform(Example("a", (image,)), 25, crop=(0.5, 0.2))
    by_hand = image.resize((40, 25), Image.Resampling.BICUBIC).crop((3, 0, 28, 25))
    torch.testing.assert_close(pixels[0], pixels_of(by_hand), rtol=0, atol=1e-6)
    assert pixels.dtype == torch.float32
    assert (geometry.original_size, geometry.crop_top_left, geometry.target_size) == ((50, 80), (0, 3), (25, 25))


def test_the_range_is_minus_one_to_one():
    pixels, _ = transform(Example("a", (Image.new("RGB", (2, 2), (0, 255, 0)),)), 2)
    assert pixels[0, 0].eq(-1).all()
    assert pixels[0, 1].eq(1).all()


def test_an_image_of_the_size_keeps_its_pixels():
    image = noise(16, 16)
    pixels, _ = transform(Example("a", (image,)), 16)
    assert torch.equal(pixels[0], pixels_of(image))


def test_shrinking_does_not_alias():
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    pixels, _ = transform(Example("a", (Image.fromarray(stripes),)), 16)
    assert pixels[..., 2:-2].abs().max() < 0.02  # a uniform grey; sampling without a filter gives black or white


@given(size=SIZES, crop=PLACES, flip=st.booleans(), resolution=st.integers(1, 24))
@settings(deadline=None)
def test_equal_candidates_stay_equal(size, crop, flip, resolution):
    image = noise(*size)
    pixels, geometries = transform(Example("a", (image, image, image)), resolution, crop, flip)
    assert pixels.shape == (3, 3, resolution, resolution)
    assert torch.equal(pixels[0], pixels[1])
    assert torch.equal(pixels[0], pixels[2])
    assert len(set(geometries)) == 1


@given(size=SIZES, crop=PLACES, window=SIZES)
@settings(deadline=None)
def test_the_window_fits_and_covers_as_much_as_it_can(size, crop, window):
    pixels, [geometry] = transform(Example("a", (noise(*size),)), window, crop)
    assert pixels.shape[2:] == window
    top, left = geometry.crop_top_left
    scale = max(window[0] / size[0], window[1] / size[1])
    assert 0 <= top <= round(size[0] * scale) - window[0] or top == 0
    assert 0 <= left <= round(size[1] * scale) - window[1] or left == 0
    assert top == 0 or left == 0  # one side is filled


@given(crop=PLACES)
@settings(deadline=None)
def test_a_flip_is_a_mirror_before_the_cut(crop):
    image = noise(12, 20)
    mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    flipped, geometries = transform(Example("a", (image, image)), 12, crop, flip=True)
    plain, plain_geometries = transform(Example("a", (mirrored, mirrored)), 12, crop)
    assert torch.equal(flipped, plain)
    assert geometries == plain_geometries


def test_candidates_of_different_sizes_keep_their_shapes_and_share_the_place():
    pixels, [tall, wide] = transform(Example("a", (noise(40, 20), noise(10, 50))), 10, crop=(1.0, 0.5))
    assert pixels.shape == (2, 3, 10, 10)
    assert (tall.original_size, tall.crop_top_left) == ((40, 20), (10, 0))
    assert (wide.original_size, wide.crop_top_left) == ((10, 50), (0, 20))


@given(crop=PLACES, flip=st.booleans(), window=st.tuples(st.integers(4, 16), st.integers(4, 16)))
@settings(deadline=None)
def test_candidates_that_differ_in_size_alone_show_the_same(crop, flip, window):
    """A slope, and the same slope drawn on three times the pixels: what a window shows differs by the rounding of its corner."""
    down, right = np.mgrid[0:40, 0:64]
    slope = np.stack([3 * down, 3 * right, down + right], axis=-1)
    small = Image.fromarray(slope.astype(np.uint8))
    large = Image.fromarray(slope.repeat(3, axis=0).repeat(3, axis=1).astype(np.uint8))
    pixels, _ = transform(Example("a", (small, large)), window, crop, flip)
    per_pixel = 6 * max(40 / window[0], 64 / window[1]) * 2 / 255
    inner = pixels[..., 1:-1, 1:-1]
    assert (inner[0] - inner[1]).abs().max() <= per_pixel


@given(left=st.integers(0, 40), top=st.integers(0, 24), flip=st.booleans())
@settings(deadline=None)
def test_the_corner_that_is_told_is_where_the_window_begins_in_the_mirrored_picture(left, top, flip):
    """Each pixel of a picture that is scaled by one says in its color where it is."""
    down, right = np.mgrid[0:40, 0:16] if top else np.mgrid[0:16, 0:56]
    height, width = down.shape
    place = (top / 24, 0.0) if top else (0.0, left / 40)
    image = Image.fromarray(np.stack([down, right, 0 * down], axis=-1).astype(np.uint8))
    pixels, [geometry] = transform(Example("a", (image,)), 16, place, flip)
    row, column = ((pixels[0, :2, 0, 0] + 1) * 127.5).round().int().tolist()
    assert geometry.crop_top_left == (row, width - 1 - column if flip else column)
    assert geometry.original_size == (height, width)


@pytest.mark.parametrize("size", [(32, 48), (64, 32), (16, 24), (96, 150)])
@pytest.mark.parametrize("flip", [False, True])
def test_micro_conditioning_is_that_of_the_diffusers_script(size, flip):
    """train_text_to_image_sdxl.py: resize the shorter side, flip, then crop at the center of what is there by then."""
    from torchvision.transforms.functional import hflip, resize

    image, side = noise(*size), 16
    scaled = resize(image, side)
    flipped = hflip(scaled) if flip else scaled
    corner = max(0, round((flipped.height - side) / 2)), max(0, round((flipped.width - side) / 2))
    _, [geometry] = transform(Example("a", (image,)), side, flip=flip)
    assert (geometry.original_size, geometry.crop_top_left, geometry.target_size) == (size, corner, (side, side))


def test_a_broken_candidate_names_the_row():
    with pytest.raises(UserError, match=r"an image of a.parquet, row 3 cannot be read"):
        transform(Example("a", (noise(4, 4), b"no"), origin="a.parquet, row 3"), 4)
