"""Where the embedded pipelines lie."""

from pathlib import Path

from mmalign.errors import UserError
from mmalign.plugins import nearest

NAMES = ("sdxl", "sdxl_epsilon", "sd3", "sd")
WEIGHTS = Path(__file__).parent / "weights"
PREFIX = "shapes/"


def path(name: str) -> Path:
    """The folder of an embedded pipeline.

    Raises:
        UserError: there is no embedded pipeline of that name, or its weights are not installed.
    """
    if name not in NAMES:
        raise UserError(f"no embedded pipeline is called {name!r}; {nearest(name, list(NAMES))}")
    folder = WEIGHTS / name
    if not (folder / "model_index.json").is_file():
        raise UserError(f"the weights of the embedded pipeline {name!r} are missing at {folder}; run `mmalign shapes build`")
    return folder


def resolve(source: str) -> str:
    """``shapes/NAME`` as the folder of that embedded pipeline; anything else unchanged."""
    return str(path(source.removeprefix(PREFIX))) if source.startswith(PREFIX) else source
