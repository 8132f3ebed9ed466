"""Writing a report into a folder: the page, the numbers, the grids."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from mmalign.evaluation.page import Context, page
from mmalign.evaluation.pictures import grid, scaled, side_by_side
from mmalign.evaluation.record import record, score_lines
from mmalign.evaluation.result import Evaluation
from mmalign.evaluation.selection import evenly_spaced
from mmalign.evaluation.write import write_files

_COLUMNS, _CLIP_COLUMNS = 6, 2
_PAIRS = 12


def write_report(
    evaluation: Evaluation,
    folder: str | Path,
    *,
    config: Mapping[str, Any] | None = None,
    command: str | None = None,
    metrics: str | Path | None = None,
) -> Path:
    """Write ``report.html``, ``report.json``, ``scores.jsonl`` and the grids into a folder; returns the page.

    Everything is made before the first file changes, each file is replaced whole, and ``report.json`` comes last.

    Args:
        config: the resolved configuration of the run, by default the settings of the evaluation.
        command: the command line that made it, by default this process's.
        metrics: a training log (``metrics.jsonl``) to draw curves from.

    Raises:
        UserError: the log is broken, or the folder cannot be written.
    """
    context = Context.of(evaluation.settings if config is None else config, command, metrics)
    numbers = record(evaluation, context.config, context.versions, context.command)
    files = {
        "report.html": page(evaluation, context).encode(),
        "scores.jsonl": score_lines(evaluation).encode(),
        **_grids(evaluation),
        "report.json": (json.dumps(numbers, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode(),
    }
    write_files(Path(folder), files)
    return Path(folder) / "report.html"


def _grids(evaluation: Evaluation) -> dict[str, bytes]:
    shown = evaluation.group("even")
    if not shown:
        return {}
    captions = [picture.prompt for picture in shown]
    columns = _COLUMNS if evaluation.clips is None else _CLIP_COLUMNS
    return {
        "grid_base.png": _png(grid([scaled(picture.base) for picture in shown], captions, columns)),
        "grid_aligned.png": _png(grid([scaled(picture.aligned) for picture in shown], captions, columns)),
        "side_by_side.png": _png(side_by_side([shown[place] for place in evenly_spaced(len(shown), _PAIRS)], max(1, columns // 2))),
    }


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "png", optimize=True)
    return stream.getvalue()
