"""What the tab Compare does: a sheet of pictures that fills, its scores, its files and its link."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

from PIL import Image

from mmalign.compare import BASE, Cancelled, Picture, Progress, Studio, View
from mmalign.compare.png import bundle, file_name, read_view, with_settings
from mmalign.compare.scoring import Scored
from mmalign.compare.seeds import read_seeds
from mmalign.compare.streaming import drawing
from mmalign.data.films import frames_of
from mmalign.errors import UserError

Keep = Callable[[str, bytes], Path]
"""Writes a file that the page may ask for, by its name and content."""


@dataclass(frozen=True)
class Cell:
    """A picture on the sheet: where its file lies, and what scorers say."""

    file: Path
    scores: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Sheet:
    """The pictures of a view, as far as they are drawn.

    Attributes:
        cells: by seed and model.
        units: of rewards, and whether more is better.
        missing: why scores are missing, by reward.
        progress: what is being drawn; None = nothing.
        trouble: why it ended early.
    """

    view: View
    cells: Mapping[tuple[int, str], Cell] = field(default_factory=dict)
    units: Mapping[str, tuple[str, bool]] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    progress: Progress | None = None
    trouble: str = ""

    @property
    def done(self) -> bool:
        return len(self.cells) == len(self.view.seeds) * len(self.view.models)


class Comparing:
    """Draws views for sessions.

    Args:
        studio: the models.
        keep: writes a file that the page may ask for.
    """

    def __init__(self, studio: Studio, keep: Keep):
        self.studio, self.keep = studio, keep
        self._running: dict[str, Event] = {}

    def draw(self, view: View, session: str = "") -> Iterator[Sheet]:
        """The sheet of a view, again and again as it fills. What goes wrong is said on the last one.

        Args:
            session: whose drawing it is; what the session was drawing before is stopped.
        """
        self.stop(session)
        mine = self._running[session] = Event()
        sheet = Sheet(view)
        try:
            sheet = Sheet(self.studio.filled(view))
            for sheet in self._filling(sheet, mine):  # noqa: B020 - the last one is what is left when it breaks
                yield sheet
        except Cancelled:
            yield replace(sheet, progress=None, trouble="Stopped.")
        except UserError as error:
            yield replace(sheet, progress=None, trouble=str(error))
        finally:
            mine.set()
            if self._running.get(session) is mine:
                del self._running[session]

    def stop(self, session: str = "") -> None:
        """Stops what a session is drawing, after the step that it is at."""
        if running := self._running.get(session):
            running.set()

    def _filling(self, sheet: Sheet, stop: Event) -> Iterator[Sheet]:
        yield sheet
        row: list[Picture] = []
        for news in drawing(self.studio, sheet.view, stop.is_set):
            if isinstance(news, Progress):
                sheet = replace(sheet, progress=news)
                yield sheet
                continue
            file = self.keep(file_name(news), with_settings(news, self.studio.source))
            sheet = replace(sheet, cells={**sheet.cells, (news.seed, news.model): Cell(file)})
            yield sheet
            row.append(news)
            if len(row) == len(sheet.view.models):
                sheet, row = scored(sheet, row, self.studio.score(row, sheet.view.rewards)), []
                yield sheet
        yield replace(sheet, progress=None)

    # ---- files

    def pictures(self, sheet: Sheet) -> list[Picture]:
        """The pictures of a sheet, as they were drawn."""
        return [Picture(sheet.view.only(model, seed), tuple(frames_in(cell.file))) for (seed, model), cell in sheet.cells.items()]

    def bundled(self, sheet: Sheet) -> Path:
        """All pictures of a sheet and its view in one file. Raises UserError where there is nothing yet."""
        if not sheet.cells:
            raise UserError("there is nothing to download yet; draw something first")
        return self.keep("pictures.zip", bundle(self.pictures(sheet), sheet.view, self.studio.source))

    def view_file(self, sheet: Sheet) -> Path:
        """The view of a sheet as a file."""
        return self.keep("view.json", sheet.view.to_json().encode())

    def opened_view(self, file: str | Path) -> View:
        """The view that an uploaded file says, with every number filled in. Raises UserError where it says none."""
        return self.studio.filled(read_view(self.studio.limits.upload(file).read_bytes()))

    def pair(self, sheet: Sheet, left: str, right: str, seed: int) -> tuple[Image.Image, Image.Image] | None:
        """Two pictures of one seed for the slider, of clips the first frames; None while one of them is not there."""
        cells = [sheet.cells.get((seed, model)) for model in (left, right)]
        if None in cells:
            return None
        first, second = (opened(cell.file) for cell in cells if cell is not None)
        return first, second


def scored(sheet: Sheet, row: Sequence[Picture], columns: Sequence[Scored]) -> Sheet:
    """A sheet with the scores of some of its pictures."""
    cells = dict(sheet.cells)
    for place, picture in enumerate(row):
        key = picture.seed, picture.model
        scores = {column.reward: (column.values[place], column.differences[place]) for column in columns}
        cells[key] = replace(cells[key], scores=scores)
    units = {column.reward: (column.unit, column.higher_is_better) for column in columns}
    missing = {column.reward: column.why for column in columns if column.why}
    return replace(sheet, cells=cells, units={**sheet.units, **units}, missing={**sheet.missing, **missing})


def view_of(
    prompt: str,
    negative_prompt: str,
    seeds: str,
    steps: float | None,
    guidance: float | None,
    width: float | None,
    height: float | None,
    models: Sequence[str],
    rewards: Sequence[str],
    scales: Mapping[str, float],
    user: str | Mapping[str, float] | None = None,
    frames: float | None = None,
) -> View:
    """A view of what stands in the fields of the page. Raises UserError where nothing can be drawn with it."""
    if not models:
        raise UserError("no model is chosen; tick one, or better two")
    numbers = {"steps": _whole(steps, "steps"), "width": _whole(width, "width"), "height": _whole(height, "height")}
    numbers["frames"] = _whole(frames, "frames")
    if isinstance(scales, Mapping):
        scales = {name: scale for name, scale in scales.items() if name in models and scale != 1}
    who = {"models": models, "rewards": rewards, "scales": scales, "user": user}
    return View(prompt, negative_prompt or "", read_seeds(seeds), guidance=guidance, **numbers, **who)


def told(sheet: Sheet) -> list[dict[str, Any]]:
    """Scores of each picture as plain data, for programs."""
    return [
        {
            "model": model,
            "seed": seed,
            "file": cell.file.name,
            "scores": {name: value for name, (value, _) in cell.scores.items()},
            "difference_to_base": {name: change for name, (_, change) in cell.scores.items() if model != BASE},
        }
        for (seed, model), cell in sheet.cells.items()
    ]


def opened(file: Path) -> Image.Image:
    """A picture that was kept, of a clip the first frame. Raises UserError where it is gone."""
    return next(frames_in(file))


def frames_in(file: Path) -> Iterator[Image.Image]:
    """A picture that was kept, alone, or the frames of a clip. Raises UserError where it is gone."""
    try:
        for frame in frames_of(file):
            yield frame.picture()
    except (UserError, OSError) as error:
        raise UserError("these pictures are not kept any more; draw them again") from error


def _whole(value: float | None, name: str) -> int | None:
    """A number of a field; None where it is empty."""
    if value is None:
        return None
    if not isinstance(value, int | float) or not float(value).is_integer():
        raise UserError(f"{value!r} is no number for {name}; give a whole one")
    return int(value)
