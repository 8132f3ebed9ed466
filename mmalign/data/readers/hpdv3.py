"""HPDv3's lists of pairs (MizzenAI/HPDv3): the first path is the preferred image."""

from dataclasses import dataclass

from mmalign.data.reader import Reader
from mmalign.data.rows import Row
from mmalign.data.schema import Example


@dataclass(frozen=True)
class HPDv3(Reader):
    """``path1`` is always preferred to ``path2``; ``confidence`` and ``choice_dist`` are not read.

    ``image_folder`` is where the image paths start, relative to the data file; None = its own folder.
    """

    prompt: str = "prompt"
    path1: str = "path1"
    path2: str = "path2"
    image_folder: str | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        return self.prompt, self.path1, self.path2

    def candidates(self, row: Row) -> Example:
        here = row.within(self.image_folder)
        return Example(row.text(self.prompt), (here.image(self.path1), here.image(self.path2)), origin=row.origin)


PLUGIN = HPDv3
