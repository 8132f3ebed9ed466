"""HPDv2's test.json: the images of a prompt and the rank people gave each, 0 or 1 the best (arXiv 2306.09341)."""

from collections.abc import Iterator
from dataclasses import dataclass

from mmalign.data.ranking import ranking_verdicts, sorted_example
from mmalign.data.reader import Reader, Verdict
from mmalign.data.rows import Row
from mmalign.data.schema import Example
from mmalign.data.tables import Table


@dataclass(frozen=True)
class HPDv2(Reader):
    """``rank`` is what the published accuracy is measured against; ``raw_annotations``, each annotator's own ranks, is not read.

    ``image_folder`` is where the image paths start, relative to the data file; None = its folder ``test`` where there is one.
    """

    prompt: str = "prompt"
    image_path: str = "image_path"
    rank: str = "rank"
    image_folder: str | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        return self.prompt, self.image_path, self.rank

    def verdicts(self, table: Table) -> Iterator[Verdict]:
        return ranking_verdicts(table, self.rank)

    def candidates(self, row: Row) -> Example:
        return sorted_example(row.within(self.image_folder, "test"), self.prompt, self.image_path, self.rank, lower_is_better=True)


PLUGIN = HPDv2
