"""Prompts from a file or the embedded world."""

from pathlib import Path

from mmalign.data.prompts import read_prompts
from mmalign.shapes.captions import PREFIX, captions_of


def load_prompts(source: str | Path) -> list[str]:
    """Prompts of a ``.txt`` or ``.jsonl`` file, as ``mmalign.data.prompts`` reads them, or of ``shapes/SPLIT``.

    Raises:
        UserError: the source is missing, empty, of another kind, or a row of it is broken; the message names file and row.
    """
    return captions_of(str(source)) if str(source).startswith(PREFIX) else read_prompts(source)
