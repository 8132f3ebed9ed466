"""Prompts made of rows: other pictures, the place of the row's own, and rows that are left out."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmalign.config.mia import MiaOptions
from mmalign.factory.mia.build import Builder
from mmalign.factory.mia.noise import noisy_cell, wrapped
from mmalign.factory.mia.plan import Request
from mmalign.factory.mia.pool import Pool
from mmalign.factory.questions import Asked

COLORS = ["red", "lime", "blue", "yellow", "magenta", "cyan"]


def row(color, question="What color is it?", answer="red"):
    return Asked(question, answer, (Image.new("RGB", (20, 20), color),), origin=color)


def builder(rows, groups=None, **options):
    return Builder(rows, Pool(rows, groups), MiaOptions(**options), square=False)


def color_of(image):
    return image.getpixel((0, 0))


def test_the_rows_own_picture_is_where_the_question_says():
    rows, places = [row(color) for color in COLORS], Counter()
    for seed in range(40):
        built = builder(rows, seed=seed)(Request(0, "sequence", 4, 2))[1]
        made = built.made
        assert list(map(color_of, built.sources)) == list(map(color_of, made.images))
        assert color_of(made.images[made.target]) == (0, 0, 255)
        assert made.text == f"\nIn Image{made.target + 1}, what color is it?"
        assert len({color_of(image) for image in made.images}) == 4
        places[made.target] += 1
    assert set(places) == {0, 1, 2, 3}


def test_the_same_picture_in_another_row_is_not_another_picture():
    rows = [row("red"), row("red", "Is it red?"), row("blue"), row("blue")]
    made = builder(rows)(Request(0, "sequence", 2, 0))[1].made
    assert sorted(map(color_of, made.images)) == [(0, 0, 255), (255, 0, 0)]
    _, left = builder(rows)(Request(0, "sequence", 3, 0))
    assert left.reason == "too few other pictures"


def test_pictures_are_lent_within_a_group():
    rows = [row(color) for color in COLORS]
    groups = ["a", "b", "a", "b", "b", "b"]
    for seed in range(10):
        made = builder(rows, groups, seed=seed)(Request(0, "pic_in_pic", 2, 0))[1].made
        assert color_of(made.images[0]) == (0, 0, 255)


@pytest.mark.parametrize(
    ("asked", "kind", "reason"),
    [
        (Asked("What?", "it", ()), "sequence", "not about one picture"),
        (Asked("What?", "it", (Path("a"),), (Path("b"),)), "sequence", "not about one picture"),
        (Asked("", "it", (Path("a"),)), "sequence", "no question or no answer"),
        (Asked("What?", "x" * 512, (Path("a"),)), "sequence", "right answer of 512 characters or more"),
        (Asked("What is at [0.1, 0.25,0.5, 1]?", "it", (Path("a"),)), "collage", "tells places by coordinates"),
        (Asked("What?", "it", (Path("missing"),)), "sequence", "a picture cannot be opened"),
    ],
)
def test_rows_that_are_left_out_say_why(asked, kind, reason):
    rows = [asked, *map(row, COLORS)]
    assert builder(rows)(Request(0, kind, 2, 0))[1].reason == reason


def test_a_place_by_coordinates_is_still_right_in_a_sequence():
    rows = [row("red", "What is at [0, 0, 1, 1]?"), row("blue")]
    assert builder(rows)(Request(0, "sequence", 2, 0))[1].made.count == 2


def test_the_words_behind_a_request_for_a_caption_are_cut_off():
    rows = [row("red", "Provide a one-sentence caption for the provided image.\nReference OCR token: STOP"), row("blue")]
    assert builder(rows)(Request(0, "sequence", 2, 0))[1].made.text.endswith(", provide a one-sentence caption for the provided image.")


def test_noise_on_a_cell_leaves_the_others():
    image = Image.new("RGB", (200, 100), (120, 120, 120))
    pixels = np.asarray(noisy_cell(image, (0.5, 0.0, 1.0, 1.0), np.random.default_rng(0)))
    assert (pixels[:, :100] == 120).all()
    # of a normal distribution of deviation 225 around 120, what lies outside of 0 to 255 is cut to the ends
    assert np.mean(pixels[:, 100:] == 0) == pytest.approx(0.297, abs=0.01)
    assert np.mean(pixels[:, 100:] == 255) == pytest.approx(0.274, abs=0.01)


def test_wrapped_noise_goes_round():
    pixels = np.asarray(wrapped(Image.new("RGB", (100, 100), (0, 0, 0)), np.random.default_rng(0)))
    # half of it is negative: -1 is level 255
    assert np.mean(pixels > 127) == pytest.approx(0.5, abs=0.02)
