"""ImageReward's test.json: the images of a prompt and the rank people gave each, 1 the best, ties allowed (arXiv 2304.05977)."""

from collections.abc import Iterator
from dataclasses import dataclass

from mmalign.data.ranking import ranking_verdicts, sorted_example
from mmalign.data.reader import Reader, Verdict
from mmalign.data.rows import Row
from mmalign.data.schema import Example
from mmalign.data.tables import Table


@dataclass(frozen=True)
class ImageReward(Reader):
    """``image_folder`` is where the image paths start, relative to the data file; None = its folder ``test_images`` where there is one."""

    prompt: str = "prompt"
    generations: str = "generations"
    ranking: str = "ranking"
    id: str = "id"
    image_folder: str | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        return self.prompt, self.generations, self.ranking

    def verdicts(self, table: Table) -> Iterator[Verdict]:
        return ranking_verdicts(table, self.ranking)

    def candidates(self, row: Row) -> Example:
        here = row.within(self.image_folder, "test_images")
        return sorted_example(here, self.prompt, self.generations, self.ranking, lower_is_better=True, ranking_id=row.name(self.id))


PLUGIN = ImageReward
