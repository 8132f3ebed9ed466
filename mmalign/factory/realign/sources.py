"""The rows whose pictures get a neighbor, and the pictures among which it is looked for."""

from collections.abc import Sequence
from pathlib import Path

from mmalign.config.realign import RealignConfig
from mmalign.data.responses import ResponseExample, load_responses
from mmalign.data.sources import open_source
from mmalign.errors import UserError
from mmalign.images import ImageSource
from mmalign.scorers.written import files_named
from mmalign.scoring.pictures import digest

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
COLUMN = "image"


class Sources:
    """Pictures by number: first those of the rows, then those of the pool.

    Args:
        config: where they are.

    Raises:
        UserError: there are none.
    """

    def __init__(self, config: RealignConfig):
        data = config.data
        self.rows: Sequence[ResponseExample] = load_responses(data.name, data.source, split=data.split, **data.columns)[: data.limit]
        self._files = _files(config.pool)
        self._table = None if config.pool is None or self._files else open_source(config.pool)
        if self._table is not None and COLUMN not in self._table.columns:
            raise UserError(f"{self._table.name} has no column {COLUMN!r} with pictures; give a folder of pictures, or rename the column")
        pool = len(self._files) or (0 if self._table is None else len(self._table))
        self.pool = range(len(self.rows), len(self.rows) + pool) if config.pool is not None else range(len(self.rows))
        told = [data.source, str(data.columns), str(config.pool), str(len(self.rows)), str(pool)]
        self.state = digest([*told, *files_named([data.source, config.pool])])

    def __len__(self) -> int:
        return max(len(self.rows), self.pool.stop)

    def picture(self, number: int) -> ImageSource | None:
        """A picture; None for a row that is about none or several. Raises UserError where the row is broken."""
        if number < len(self.rows):
            images = self.rows[number].images
            return images[0] if len(images) == 1 else None
        place = number - len(self.rows)
        return self._files[place] if self._table is None else self._table.row(place).image(COLUMN)


def _files(pool: str | None) -> list[Path]:
    """The picture files of a folder, by name; none where it is no folder or holds tables."""
    folder = Path(pool or "").expanduser()
    if pool is None or not folder.is_dir():
        return []
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
