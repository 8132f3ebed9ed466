"""What is found out about preference data."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mmalign.files import write_whole

Range = tuple[float, float]


@dataclass(frozen=True)
class Labels:
    """What the labels of all rows say.

    Attributes:
        left_out: rows that give no example, by reason, without the ties.
        ties: rows that prefer no image.
        soft: rows with a preference that is less than certain, ties apart; ``soft_range`` is theirs, 0.5 to 1.
        first: rows whose preferred image is stored first; None where the format itself has it first.
    """

    left_out: dict[str, int]
    ties: int
    soft: int
    soft_range: Range | None
    first: int | None
    labeled: int


@dataclass(frozen=True)
class Columns:
    """What the columns of text and numbers say, of all rows.

    Attributes:
        prompts: different ones; ``most`` and ``median`` are rows of one prompt.
        users: different ones; None where the source does not say.
        weights, scores: from the least to the greatest; None where there are none.
    """

    prompts: int
    median: float
    most: int
    users: int | None
    weights: Range | None
    scores: Range | None


@dataclass(frozen=True)
class Clips:
    """What clips say beside their sizes.

    Attributes:
        frames: clips by number of frames.
        seconds: of the shortest and the longest; None where frames have no times, as those in folders.
        uneven: rows whose clips differ in their number of frames.
    """

    frames: dict[int, int]
    seconds: Range | None
    uneven: int


@dataclass(frozen=True)
class Images:
    """What the images of the rows that were looked at, or their clips, say.

    Attributes:
        rows: how many rows were looked at.
        images: how many images could be read, a clip counting as one.
        candidates: rows by number of images.
        sizes: images by (width, height) in pixels, upright.
        uneven: rows whose images differ in size.
        same: rows with one image twice.
        broken: a sentence for each row with an image or a cell that cannot be read.
        duplicates: rows, by origin, with the prompt and the images of a row before, and whether they prefer another image.
        clips: what is known of clips; None where all are pictures.
    """

    rows: int
    images: int
    candidates: dict[int, int]
    sizes: dict[tuple[int, int], int]
    uneven: int
    same: int
    broken: list[str]
    duplicates: list[tuple[str, str, bool]]
    clips: Clips | None = None


@dataclass(frozen=True)
class Inspection:
    """All of it.

    Attributes:
        source: what messages call it.
        kind: what it is stored as.
        columns: names of its columns.
        reader: what understands them; ``needs`` are the columns it reads them by, ``also`` other readers that could.
        rows: how many, those of one prompt counted once where the format spreads an example over several.
    """

    source: str
    kind: str
    columns: tuple[str, ...]
    reader: str
    needs: tuple[str, ...]
    also: tuple[str, ...]
    rows: int
    labels: Labels
    told: Columns
    images: Images

    def save(self, path: Path) -> None:
        """Writes everything as JSON. Raises UserError where the place cannot be written."""
        facts = asdict(self)
        facts["images"]["sizes"] = {f"{width}x{height}": count for (width, height), count in self.images.sizes.items()}
        write_whole(path, json.dumps(facts, indent=2, ensure_ascii=False).encode() + b"\n")
