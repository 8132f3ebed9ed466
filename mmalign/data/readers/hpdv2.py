"""HPDv2's test.json: the images of a prompt and the rank people gave each, 0 or 1 the best (arXiv 2306.09341)."""

from collections.abc import Iterator
from dataclasses import dataclass

from mmalign.data.ranking import ranking_verdicts, sorted_example
from mmalign.data.reader import Reader, Verdict
from mmalign.data.rows import Row
from mmalign.data.schema import Example
from mmalign.data.tables import Table
from mmalign.data.unfolded import UnfoldedTable


@dataclass(frozen=True)
class HPDv2(Reader):
    """``rank``, the average over annotators, is what the published accuracy is measured against.

    ``each_annotator`` reads ``raw_annotations`` in its place: every annotator's own ranks are an example, with ``user_hash`` as the user.

    ``image_folder`` is where the image paths start, relative to the data file; None = its folder ``test`` where there is one.
    """

    prompt: str = "prompt"
    image_path: str = "image_path"
    rank: str = "rank"
    raw_annotations: str = "raw_annotations"
    user_hash: str = "user_hash"
    each_annotator: bool = False
    image_folder: str | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        return self.prompt, self.image_path, self.raw_annotations if self.each_annotator else self.rank

    def arranged(self, table: Table) -> Table:
        return UnfoldedTable(table, self.raw_annotations) if self.each_annotator else table

    def verdicts(self, table: Table) -> Iterator[Verdict]:
        return ranking_verdicts(table, self.rank)

    def candidates(self, row: Row) -> Example:
        here = row.within(self.image_folder, "test")
        user = row.name(self.user_hash) if self.each_annotator else None
        return sorted_example(here, self.prompt, self.image_path, self.rank, lower_is_better=True, user_id=user)


PLUGIN = HPDv2
