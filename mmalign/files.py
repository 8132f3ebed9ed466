"""Writing files that appear whole or not at all."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mmalign.errors import UserError


@contextmanager
def whole_file(path: str | Path) -> Iterator[IO[bytes]]:
    """A file to write to that takes its name only once it is complete and on the disk; on any error nothing is left.

    Raises:
        UserError: the disk is full or the place cannot be written; the message names the file.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; free some space or choose another place") from error
    finally:
        if temporary.exists():
            temporary.unlink()


def write_whole(path: str | Path, content: bytes) -> None:
    """Writes a file's whole content. Raises UserError as ``whole_file`` does."""
    with whole_file(path) as file:
        file.write(content)
