"""Kept rows in the form that MIA-DPO's sets are published in: one JSON list, and a folder of pictures."""

import json
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from mmalign.files import write_whole

FILE, FOLDER = "mia_dpo.json", "images"
SUFFIXES = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp", b"GIF8": ".gif", b"BM": ".bmp"}
"""How files begin."""
PUBLISHED = ("id", "prompt", "chosen", "rejected", "gt")


def export(tables: Iterable[pa.Table], folder: Path) -> Path:
    """Writes the pictures, then the list that names them, and gives its place; `mmalign train` reads it as it is.

    Args:
        tables: rows as ``mmalign.factory.mia.rows`` makes them.
        folder: is made where it is not there.

    Raises:
        UserError: the folder cannot be written.
    """
    rows = []
    for table in tables:
        for row in table.to_pylist():
            places = [f"{FOLDER}/{len(rows):07d}_{place}{suffix(image['bytes'])}" for place, image in enumerate(row["image"])]
            for place, image in zip(places, row["image"], strict=True):
                write_whole(folder / place, image["bytes"])
            rows.append({"image": places, **{name: row[name] for name in PUBLISHED}})
    write_whole(folder / FILE, json.dumps(rows, ensure_ascii=False, indent=1).encode())
    return folder / FILE


def suffix(content: bytes) -> str:
    """The ending of a file's name, by how its content begins.

    >>> suffix(bytes.fromhex("ffd8ff"))
    '.jpg'
    """
    return next((ending for start, ending in SUFFIXES.items() if content.startswith(start)), "")
