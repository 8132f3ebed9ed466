"""A prompt, two or more images and a score for each, as RankDPO (arXiv 2410.18013) needs them."""

from collections.abc import Iterator
from dataclasses import dataclass

from mmalign.data.reader import Reader, Verdict
from mmalign.data.rows import Row
from mmalign.data.schema import Example
from mmalign.data.tables import Table
from mmalign.errors import UserError


@dataclass(frozen=True)
class Ranked(Reader):
    """Images sorted by score, the best first; equal scores stay in the order of the row.

    A tie is a row whose images, two or more, all have the same score. ``lower_is_better`` reads ranks, which become scores with
    the sign turned.
    """

    prompt: str = "prompt"
    images: str = "images"
    scores: str = "scores"
    lower_is_better: bool = False
    weight: str = "weight"
    user_id: str = "user_id"

    @property
    def needs(self) -> tuple[str, ...]:
        return self.prompt, self.images, self.scores

    def verdicts(self, table: Table) -> Iterator[Verdict]:
        for index, cell in enumerate(table.column(self.scores)):
            scores = Row({self.scores: cell}, table.origin(index)).numbers(self.scores)
            yield 0.5 if len(scores) > 1 and len(set(scores)) == 1 else 1.0

    def candidates(self, row: Row) -> Example:
        images, scores = row.images(self.images), row.numbers(self.scores)
        if len(images) != len(scores):
            raise UserError(f"{row.origin}: {len(images)} images but {len(scores)} scores; give one score for each image")
        if self.lower_is_better:
            scores = tuple(-score for score in scores)
        order = sorted(range(len(scores)), key=lambda k: -scores[k])
        return Example(
            prompt=row.text(self.prompt),
            images=tuple(images[k] for k in order),
            scores=tuple(scores[k] for k in order),
            weight=row.weight(self.weight),
            user_id=row.name(self.user_id),
            origin=row.origin,
        )


PLUGIN = Ranked
