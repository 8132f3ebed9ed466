"""A folder with winners in w/ and losers in l/ under equal names, with captions beside them (see ``mmalign.data.pair_folder``)."""

from dataclasses import dataclass

from mmalign.data.reader import Reader
from mmalign.data.rows import Row
from mmalign.data.schema import Example


@dataclass(frozen=True)
class Folder(Reader):
    """Rows with the columns ``prompt, w, l``, as such a folder is opened; any other source with these columns does too."""

    summary = "a folder with w/ (preferred) and l/, and a .txt for each pair or a metadata.jsonl"

    prompt: str = "prompt"
    w: str = "w"
    l: str = "l"  # noqa: E741, the name of the folder

    @property
    def needs(self) -> tuple[str, ...]:
        return self.prompt, self.w, self.l

    def candidates(self, row: Row) -> Example:
        return Example(row.text(self.prompt), (row.image(self.w), row.image(self.l)), origin=row.origin)


PLUGIN = Folder
