"""Spoiled films: how much is covered, where, and how frames are mixed."""

from random import Random

import numpy as np
import pytest
from PIL import Image

from mmalign.config.rrpo import RrpoOptions
from mmalign.factory.rrpo.perturb import covered, order, perturbed

WHITE = [Image.new("RGB", (120, 80), (250, 250, 250 - number)) for number in range(6)]


@pytest.mark.parametrize("share", [0.25, 0.4, 0.5])
@pytest.mark.parametrize("corner", [(0.0, 0.0), (1.0, 1.0), (0.3, 0.7)])
def test_a_share_of_every_frame_is_covered_in_one_place(share, corner):
    masks = [(np.asarray(frame) == 0).all(-1) for frame in covered(WHITE, share, corner)]
    assert masks[0].mean() == pytest.approx(share, abs=0.01)
    assert all((mask == masks[0]).all() for mask in masks)
    rows, columns = np.nonzero(masks[0])
    assert masks[0][rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()
    assert np.asarray(WHITE[0]).min() > 0  # the film itself is left


def test_a_local_shuffle_stays_within_its_windows_and_is_never_the_old_order():
    for seed in range(50):
        mixed = order(7, "local", 3, Random(seed))
        assert sorted(mixed) == list(range(7))
        assert mixed != list(range(7))
        assert [place // 3 for place in mixed] == [0, 0, 0, 1, 1, 1, 2]
        assert sorted(order(7, "global", 3, Random(seed))) == list(range(7)) != order(7, "global", 3, Random(seed))


def test_nothing_is_mixed_where_there_is_nothing_to_mix():
    assert order(4, "none", 2, Random(0)) == [0, 1, 2, 3]
    assert order(1, "global", 2, Random(0)) == [0]


def test_shares_are_drawn_between_the_ends():
    options = RrpoOptions(mask_share=(0.25, 0.5), shuffle="none")
    shares = [(np.asarray(perturbed(WHITE[:1], options, Random(seed))[0]) == 0).all(-1).mean() for seed in range(60)]
    assert 0.24 < min(shares) < 0.3
    assert 0.45 < max(shares) < 0.51
    assert perturbed(WHITE, RrpoOptions(mask_share=(0, 0), shuffle="none"), Random(0)) == WHITE
