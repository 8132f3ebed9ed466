"""The packages that are installed, against the versions that mmalign was tested with."""

import importlib
import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import mmalign
from mmalign.doctor.check import Check
from mmalign.hub import first_line

TESTED = Path(mmalign.__file__).parent / "constraints.txt"
OLDEST_PYTHON = (3, 11)
NEEDED = (
    "accelerate",
    "datasets",
    "diffusers",
    "docstring-parser",
    "matplotlib",
    "numpy",
    "open_clip_torch",
    "peft",
    "pillow",
    "pyarrow",
    "pydantic",
    "pyyaml",
    "safetensors",
    "tensorboard",
    "timm",
    "torch",
    "torchvision",
    "tqdm",
    "transformers",
    "tyro",
)
"""Those that mmalign does not run without."""
OPTIONAL = {"gradio": "app", "av": "video", "deepspeed": "deepspeed"}
"""Those that a part of it needs, with the extra that installs them; those whose working is tried are not among them."""
IMPORTED = ("torch", "diffusers", "transformers", "peft", "accelerate")
"""Those that are imported to see whether they can be: the others fail seldom."""


def checks() -> Iterator[Check]:
    """A check for Python and for each package."""
    version = platform.python_version()
    if sys.version_info[:2] < OLDEST_PYTHON:
        yield Check("python", "fail", version, "mmalign needs Python 3.11 or newer")
    else:
        yield Check("python", "ok", f"{version} on {platform.system()} {platform.machine()}")
    known = tested()
    for name in NEEDED:
        yield of_package(name, known.get(_plain(name)))
    for name, extra in OPTIONAL.items():
        found = of_package(name, known.get(_plain(name)))
        yield (
            Check(name, "note", "not installed", f"pip install 'mmalign[{extra}]' for the part that needs it")
            if found.status == "fail"
            else found
        )


def tested() -> dict[str, str]:
    """The tested versions by name, in lower case with hyphens."""
    lines = TESTED.read_text(encoding="utf-8").splitlines() if TESTED.is_file() else []
    return {_plain(name): version for name, mark, version in (line.partition("==") for line in lines) if mark}


def of_package(name: str, wanted: str | None) -> Check:
    """Whether a package is there, can be imported, and is as old as the one that was tested."""
    try:
        version = metadata.version(name)
        if name in IMPORTED:
            importlib.import_module(name)
    except metadata.PackageNotFoundError:
        return Check(name, "fail", "not installed", "pip install mmalign again, with -c constraints.txt for the tested versions")
    except Exception as error:  # noqa: BLE001 (a broken build raises anything)
        return Check(name, "fail", f"{metadata.version(name)} cannot be imported: {first_line(error)}", f"pip install {name}=={wanted}")
    if wanted is None or _minor(version) == _minor(wanted):
        return Check(name, "ok", version)
    age = "older" if _minor(version) < _minor(wanted) else "newer"
    return Check(name, "note", f"{version}, {age} than the tested {wanted}", f"pip install '{name}=={wanted}' if something fails")


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


def _minor(version: str) -> tuple[int, ...]:
    """The first two numbers of a version.

    >>> _minor("2.15.0+cu132"), _minor("26.0.1")
    ((2, 15), (26, 0))
    """
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])
