"""Prompts from a text file or a JSON Lines file."""

import json
from pathlib import Path

from mmalign.errors import UserError


def read_prompts(path: str | Path) -> list[str]:
    """Prompts of a ``.txt`` file (one a line) or a ``.jsonl`` file (strings, or objects with ``prompt``). Blank lines are left out.

    Raises:
        UserError: the file is missing, empty, of another kind, or a row of it is broken; the message names file and row.
    """
    name = str(path)
    readers = {".txt": _from_text, ".jsonl": _from_json_lines}
    reader = readers.get(Path(path).suffix.lower())
    if reader is None:
        raise UserError(f"prompts {name!r}: give a .txt file, a .jsonl file, or shapes/final")
    found = reader(name, _lines(Path(path)))
    if not found:
        raise UserError(f"{name} holds no prompt; write one prompt a line")
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")  # not splitlines: JSON text may hold U+2028
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"cannot read prompts from {path}: {error.strerror}; check the path") from error


def _from_text(name: str, lines: list[str]) -> list[str]:
    return [line.strip() for line in lines if line.strip()]


def _from_json_lines(name: str, lines: list[str]) -> list[str]:
    return [_row(f"{name}, line {number}", line) for number, line in enumerate(lines, 1) if line.strip()]


def _row(origin: str, line: str) -> str:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{origin} is not JSON ({error.msg}); write one object with a key 'prompt' a line") from error
    prompt = row.get("prompt") if isinstance(row, dict) else row
    if not isinstance(prompt, str) or not prompt.strip():
        raise UserError(f"{origin} has no prompt; write an object with a text under the key 'prompt'")
    return prompt.strip()
