"""A folder with winners in w/ and losers in l/ under equal names, with captions beside them or in metadata.jsonl."""

from dataclasses import dataclass

from mmalign.data.reader import Reader
from mmalign.data.rows import Row
from mmalign.data.schema import Example


@dataclass(frozen=True)
class Folder(Reader):
    """Rows with the columns ``prompt, w, l``, as ``pair_folder`` makes them of such a folder; any source with these columns does too."""

    prompt: str = "prompt"
    w: str = "w"
    l: str = "l"  # noqa: E741, the name of the folder

    @property
    def needs(self) -> tuple[str, ...]:
        return self.prompt, self.w, self.l

    def candidates(self, row: Row) -> Example:
        return Example(row.text(self.prompt), (row.image(self.w), row.image(self.l)), origin=row.origin)


PLUGIN = Folder
