"""HPDv2's train.json: two images of a prompt, and for each whether it was preferred (arXiv 2306.09341)."""

from collections.abc import Iterator
from dataclasses import dataclass

from mmalign.data.ranking import ranking_verdicts, sorted_example
from mmalign.data.reader import Reader, Verdict
from mmalign.data.rows import Row
from mmalign.data.schema import Example
from mmalign.data.tables import Table


@dataclass(frozen=True)
class HPDv2Train(Reader):
    """``human_preference`` is 1 for the preferred image and 0 for the other.

    ``image_folder`` is where the image paths start, relative to the data file; None = its folder ``train`` where there is one.
    """

    prompt: str = "prompt"
    file_path: str = "file_path"
    human_preference: str = "human_preference"
    user_hash: str = "user_hash"
    image_folder: str | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        return self.prompt, self.file_path, self.human_preference

    def verdicts(self, table: Table) -> Iterator[Verdict]:
        return ranking_verdicts(table, self.human_preference)

    def candidates(self, row: Row) -> Example:
        here = row.within(self.image_folder, "train")
        user = row.name(self.user_hash)
        return sorted_example(here, self.prompt, self.file_path, self.human_preference, lower_is_better=False, user_id=user)


PLUGIN = HPDv2Train
