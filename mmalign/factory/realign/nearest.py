"""The nearest picture that is not the same."""

from dataclasses import dataclass

from torch import Tensor

FEW = 32
"""Neighbors that are looked at before all are."""


@dataclass(frozen=True)
class Near:
    """A picture of the pool.

    Attributes:
        place: its number.
        similarity: cosine of its features with those of the picture it is near to.
        passed: nearer ones that count as the same.
    """

    place: int
    similarity: float
    passed: int


class Nearest:
    """Finds pictures of a pool.

    Args:
        features: (N, C), each of length 1.
        thumbnails: (N, 32, 32, 3), 8 bits.
        max_similarity: cosine above which two pictures are the same.
        duplicates: root mean square difference of thumbnails, levels, up to which they are.
    """

    def __init__(self, features: Tensor, thumbnails: Tensor, max_similarity: float, duplicates: float):
        self._features, self._thumbnails = features, thumbnails
        self._max_similarity, self._duplicates = max_similarity, duplicates

    def __call__(self, feature: Tensor, thumbnail: Tensor) -> Near | None:
        """The picture with the largest cosine among those that are not the same, of equal ones the first; None where all are the same."""
        similarities = self._features @ feature
        for count in (min(FEW, len(similarities)), len(similarities)):
            order = similarities.sort(descending=True, stable=True).indices[:count]
            other = ~self._same(order, similarities[order], thumbnail)
            if other.any():
                passed = int(other.int().argmax())
                place = int(order[passed])
                return Near(place, float(similarities[place]), passed)
        return None

    def _same(self, places: Tensor, similarities: Tensor, thumbnail: Tensor) -> Tensor:
        differences = (self._thumbnails[places].float() - thumbnail.float()).square().mean((1, 2, 3)).sqrt()
        return (similarities > self._max_similarity) | (differences <= self._duplicates)
