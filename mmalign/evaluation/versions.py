"""What software a result was made with, and by which command."""

import platform
import shlex
import sys
from importlib import metadata
from pathlib import Path

import mmalign

_PACKAGES = ("torch", "diffusers", "transformers", "peft", "accelerate", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a result; a package that is not installed is left out."""
    found = {"python": platform.python_version(), "mmalign": mmalign.__version__}  # a bare clone has no metadata
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def this_command() -> str:
    """The command line of this process, as one would type it."""
    program = Path(sys.argv[0]).name
    program = "python -m mmalign" if program == "__main__.py" else program
    return f"{program} {shlex.join(sys.argv[1:])}".strip()
