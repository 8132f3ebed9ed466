"""The nearest picture, against a search through all."""

import torch
from torch.nn.functional import normalize

from mmalign.factory.realign.nearest import Nearest


def by_hand(features, thumbnails, own, most, levels):
    """Place, and how many nearer ones are the same."""
    order = sorted(range(len(features)), key=lambda place: -float(features[place] @ features[own]))
    for passed, place in enumerate(order):
        difference = ((thumbnails[place].double() - thumbnails[own].double()) ** 2).mean().sqrt()
        if float(features[place] @ features[own]) <= most and difference > levels:
            return place, passed
    return None


def test_it_is_the_nearest_that_is_not_the_same():
    generator = torch.Generator().manual_seed(0)
    features = normalize(torch.randn(90, 4, generator=generator), dim=1)
    thumbnails = torch.randint(0, 256, (90, 32, 32, 3), dtype=torch.uint8, generator=generator)
    thumbnails[40:80] = thumbnails[7] + 1 - (thumbnails[7] == 255).byte()  # forty near duplicates of one
    features[40:80] = normalize(features[7] + 0.1 * features[40:80], dim=1)
    for most in (0.99, 0.9):
        find = Nearest(features, thumbnails, most, 2.0)
        for own in range(0, 90, 7):
            found = find(features[own], thumbnails[own])
            assert (found.place, found.passed) == by_hand(features, thumbnails, own, most, 2.0)
            assert found.similarity == float((features @ features[own])[found.place])
    assert Nearest(features, thumbnails, 0.9, 2.0)(features[7], thumbnails[7]).passed > 32


def test_where_all_are_the_same_there_is_none():
    thumbnails = torch.zeros(3, 32, 32, 3, dtype=torch.uint8)
    assert Nearest(torch.eye(3), thumbnails, 0.99, 0.0)(torch.eye(3)[0], thumbnails[0]) is None
