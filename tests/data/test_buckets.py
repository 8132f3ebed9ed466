"""Windows of one area, and rows that go to one of them with all their candidates."""

from fractions import Fraction
from math import isclose, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmalign.data import Example
from mmalign.data.buckets import bucketed, cut_share, shape_of, windows_of
from mmalign.data.transforms import transform
from mmalign.errors import UserError

SIZES = st.tuples(st.integers(1, 300), st.integers(1, 300))
# of the list in appendix I of SDXL's paper, height x width up to 2:1, those with the largest short side for each long one
PUBLISHED = {(1024, 1024), (960, 1088), (896, 1152), (832, 1216), (768, 1280), (768, 1344), (704, 1408)}


def test_the_windows_of_sdxl_are_among_those_that_it_was_trained_on():
    windows = windows_of(1024, 64, 2.0)
    assert set(windows) == PUBLISHED | {(width, height) for height, width in PUBLISHED}


@given(st.integers(8, 128), st.integers(1, 16), st.fractions(1, 4, max_denominator=4))
def test_windows_have_the_area_or_little_less(side, step, aspect):
    if side < step:
        return
    windows = windows_of(side, step, float(aspect))
    square = side // step * step
    assert (square, square) in windows
    assert len(set(windows)) == len(windows)
    for height, width in windows:
        short, long = sorted((height, width))
        assert height % step == width % step == 0
        assert Fraction(long, short) <= aspect
        assert short * long <= side**2
        assert (short + step) * long > side**2 or short + step > long
        assert (width, height) in windows


def test_where_a_model_takes_no_longer_side_the_shorter_one_is_cut():
    assert windows_of(64, 8, 2.0, longest=64) == [(64, 32), (64, 40), (64, 48), (64, 56), (64, 64), (56, 64), (48, 64), (40, 64), (32, 64)]
    assert max(map(max, windows_of(64, 4, 2.0, longest=72))) == 72


def test_a_step_larger_than_the_side_is_a_sentence():
    with pytest.raises(UserError, match="48 x 48 pixels cannot have sides in steps of 64; give a larger data.resolution"):
        windows_of(48, 64, 2.0)


@given(st.lists(st.lists(SIZES, min_size=1, max_size=4), min_size=1, max_size=12), st.lists(SIZES, min_size=1, max_size=6, unique=True))
def test_a_row_goes_to_the_window_nearest_to_the_mean_shape_of_its_candidates(rows, windows):
    found = bucketed([[shape_of(size) for size in row] for row in rows], windows)
    for index, row in enumerate(rows):
        mean = sum(log(width) - log(height) for height, width in row) / len(row)
        distances = [abs(log(width / height) - mean) for height, width in windows]
        height, width = found.window(index)
        assert isclose(abs(log(width / height) - mean), min(distances), abs_tol=1e-9)
    assert found.images == sum(map(len, rows))
    assert sorted(row for members in found.members() for row in members) == list(range(len(rows)))


def test_the_mean_is_of_shapes_so_that_tall_and_wide_make_a_square():
    found = bucketed([[shape_of((100, 300)), shape_of((300, 100))]], [(64, 64), (48, 80), (80, 48)])
    assert found.window(0) == (64, 64)


def test_of_two_windows_as_near_the_larger_is_taken():
    assert bucketed([[0.0]], [(32, 64), (128, 64), (128, 64)[::-1]]).window(0) in {(128, 64), (64, 128)}
    assert bucketed([[0.0]], [(60, 60), (64, 64)]).window(0) == (64, 64)


@given(st.lists(SIZES, min_size=1, max_size=40), st.integers(1, 10))
def test_windows_with_few_rows_are_merged_and_no_row_is_lost(sizes, least):
    windows = windows_of(64, 8, 2.0)
    before = bucketed([[shape_of(size)] for size in sizes], windows)
    after = bucketed([[shape_of(size)] for size in sizes], windows, least)
    counts = [len(members) for members in after.members()]
    assert sum(counts) == len(sizes)
    assert len(counts) == 1 or min(counts) >= least
    gone = {window: count for window, count, _ in after.merged}
    assert set(gone) == set(before.windows) - set(after.windows)
    assert gone == {before.windows[i]: len(members) for i, members in enumerate(before.members()) if before.windows[i] in gone}
    assert {taken for _, _, taken in after.merged} <= set(after.windows)


def test_a_window_with_few_rows_goes_to_the_nearest_that_is_left():
    sizes = [(64, 64)] * 9 + [(48, 84)] * 5 + [(44, 88)] * 2 + [(84, 48)]
    found = bucketed([[shape_of(size)] for size in sizes], windows_of(64, 4, 2.0), 3)
    assert [(window, len(members)) for window, members in zip(found.windows, found.members(), strict=True)] == [
        ((64, 64), 10),
        ((48, 84), 7),
    ]
    assert set(found.merged) == {((44, 88), 2, (48, 84)), ((84, 48), 1, (64, 64))}


def test_what_is_cut_is_what_the_cut_leaves_out():
    image = Image.fromarray(np.zeros((90, 160, 3), dtype=np.uint8))
    _, [geometry] = transform(Example("a", (image,)), (64, 80))
    scale = 64 / 90  # the height is filled
    assert geometry.target_size == (64, 80)
    assert cut_share(shape_of((90, 160)), (64, 80)) == pytest.approx(1 - 80 / (160 * scale))
    found = bucketed([[shape_of((90, 160))], [0.0]], [(64, 64)])
    assert found.cut == found.cut_by_squares == pytest.approx((1 - 9 / 16) / 2)


def test_rows_that_are_left_out_leave_the_others_in_their_windows():
    found = bucketed([[0.0], [log(2)], [0.0], [-log(2)]], [(64, 64), (44, 88), (88, 44)])
    kept = found.only([3, 0])
    assert [kept.window(0), kept.window(1)] == [(88, 44), (64, 64)]
    assert len(kept.windows) == 2
