"""From words of the command line to files: globs, folders, and which files are images or films."""

import os
import re
from collections.abc import Iterable
from functools import cache
from glob import glob, has_magic
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from mmalign.data.films import FILMS
from mmalign.data.rows import exists
from mmalign.errors import UserError

# formats that Pillow knows but cannot draw by itself
_NOT_DRAWN = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
_DIGITS = re.compile(r"(\d+)")


@cache
def image_suffixes() -> frozenset[str]:
    """The suffixes, in lower case and with their dot, of files that Pillow opens, and of films."""
    Image.init()
    known = Image.registered_extensions().items()
    return frozenset(suffix for suffix, kind in known if kind in Image.OPEN and kind not in _NOT_DRAWN) | frozenset(FILMS)


def is_image(path: Path) -> bool:
    """Whether a name is that of an image or a film; hidden files are none."""
    return path.suffix.lower() in image_suffixes() and not path.name.startswith(".")


def looks_like_image(path: Path) -> bool:
    """Whether a file begins as an image does, whatever its name."""
    try:
        with Image.open(path):
            return True
    except Image.DecompressionBombError:
        return True
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        return False


def natural(path: Path) -> list[Any]:
    """Sorts ``2.png`` before ``10.png``."""
    return [_natural(part) for part in path.parts]


def _natural(name: str) -> tuple[Any, str]:
    return [int(piece) if piece.isdecimal() else piece.casefold() for piece in _DIGITS.split(name)], name


def matches(word: str) -> list[Path]:
    """What a word stands for: the path itself where it exists, else what it matches as a glob; nothing where it is neither.

    Raises:
        UserError: a glob that matches nothing.
    """
    path = Path(word).expanduser()
    if exists(path):
        return [path]
    if not has_magic(word):
        return []
    found = sorted(map(Path, glob(str(path), recursive=True)), key=natural)  # noqa: PTH207 (a pattern may be absolute)
    if "**" in word:
        found = _once(path for path in found if not path.is_dir())  # what is in folders is matched too
    if not found:
        raise UserError(f"no file matches {word!r}; check the pattern, where ** reaches into subfolders")
    return found


def _once(paths: Iterable[Path]) -> list[Path]:
    """Paths without those that a link to a folder above makes of them, again and again."""
    kept, known = [], set()
    folders: dict[Path, list[Path]] = {}
    for path in paths:
        folders.setdefault(path.parent, []).append(path)
    for folder in sorted(folders, key=lambda folder: len(folder.parts)):
        if (place := os.path.realpath(folder)) not in known:
            known.add(place)
            kept += folders[folder]
    return sorted(kept, key=natural)


def files_below(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    """The files of a folder with one of the suffixes, in natural order, then those of its subfolders; hidden ones are left out."""
    found: list[Path] = []
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        # a link may lead back to a folder above
        known = os.path.realpath(place) in seen
        seen.add(os.path.realpath(place))
        folders[:] = [] if known else _shown(folders)
        names = [name for name in files if os.path.splitext(name)[1].lower() in suffixes]  # noqa: PTH122 (a Path per name takes longer)
        found += [] if known else [Path(place, name) for name in _shown(names)]
    return found


def _shown(names: list[str]) -> list[str]:
    return sorted((name for name in names if not name.startswith(".")), key=_natural)
