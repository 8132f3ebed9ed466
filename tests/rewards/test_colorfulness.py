import math

import pytest
import torch

from mmalign import rewards


def half(first, second):
    """A picture (1, 3, 4, 4) of two colors, each on half of it."""
    rows = torch.tensor([first, first, second, second]).float().T / 255
    return rows[None, :, :, None].expand(1, 3, 4, 4)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((80, 80, 80), (200, 200, 200), 0.0),
        # one color has no spread: 0.3 times the length of (rg, yb) = (255, 127.5)
        ((255, 0, 0), (255, 0, 0), 0.3 * math.hypot(255, 127.5)),
        # rg is +255 and -255, yb is 127.5 in both: spread 255, mean (0, 127.5)
        ((255, 0, 0), (0, 255, 0), 255 + 0.3 * 127.5),
        # yb is 255 and -255
        ((255, 255, 0), (0, 0, 255), 255),
    ],
)
def test_two_colors_give_the_number_computed_by_hand(first, second, expected):
    assert rewards.load("colorfulness").score(half(first, second)).item() == pytest.approx(expected, abs=1e-3)


def test_the_gradient_of_a_gray_picture_is_finite():
    pixels = torch.full((1, 3, 8, 8), 0.5, requires_grad=True)
    rewards.load("colorfulness").score(pixels, differentiable=True).sum().backward()
    assert pixels.grad.isfinite().all()
