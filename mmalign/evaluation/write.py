"""Writing a report's files together."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from mmalign.errors import UserError


def check_folder(folder: Path) -> None:
    """Makes a folder, before hours are spent on what shall lie in it.

    Raises:
        UserError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryDirectory(prefix=".report-", dir=folder).cleanup()
    except OSError as error:
        raise UserError(f"cannot write into {folder}: {error.strerror}; choose another place") from error


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes files by name into a folder: all are made before the first one changes, and each is replaced whole.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".report-", dir=folder) as staged:
            for name, content in files.items():
                Path(staged, name).write_bytes(content)
            for name in files:
                Path(staged, name).replace(folder / name)
    except OSError as error:
        raise UserError(f"cannot write the report into {folder}: {error.strerror}; free some space or choose another folder") from error
