"""What software a result was made with."""

import platform
from importlib import metadata

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
