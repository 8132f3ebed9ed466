"""Where the embedded models lie."""

from pathlib import Path

from mmalign.errors import UserError
from mmalign.plugins import nearest

NAMES = ("sdxl", "sdxl_epsilon", "sd3", "sd")
"""The pipelines."""

SCORER = "clip"
"""The CLIP-type scorer."""

VLM = "vlm"
"""The LLaVA-type model that answers questions."""

WEIGHTS = Path(__file__).parent / "weights"
ALIGNED = WEIGHTS / "aligned"
"""Adapters of the embedded models, each in a folder BASE/NAME."""

PREFIX = "shapes/"


def path(name: str) -> Path:
    """The folder of an embedded model.

    Raises:
        UserError: there is no embedded model of that name, or its weights are not installed.
    """
    known = [*NAMES, SCORER, VLM]
    if name not in known:
        raise UserError(f"no embedded model is called {name!r}; {nearest(name, known)}")
    folder, index = WEIGHTS / name, "model_index.json" if name in NAMES else "config.json"
    if not (folder / index).is_file():
        raise UserError(f"the weights of the embedded model {name!r} are missing at {folder}; run `mmalign shapes build`")
    return folder


def resolve(source: str) -> str:
    """``shapes/NAME`` as the folder of that embedded model; anything else unchanged."""
    return str(path(source.removeprefix(PREFIX))) if source.startswith(PREFIX) else source


def is_embedded(place: str | None) -> bool:
    """Whether a folder is that of an embedded model."""
    return place is not None and Path(place).parent == WEIGHTS


def aligned(name: str) -> dict[str, Path]:
    """The folders of the aligned models that are shipped for an embedded model, by their names; there may be none."""
    folder = ALIGNED / name
    return {made.name: made for made in sorted(folder.iterdir())} if folder.is_dir() else {}
