"""Folders with the winners in w/ and the losers in l/, as the kohya trainers read them: equal names make a pair."""

import json
from pathlib import Path

from mmalign import plugins
from mmalign.data.films import FILMS
from mmalign.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", *FILMS)
CAPTIONS = (".txt", ".caption")
PROMPT_KEYS = ("prompt", "caption", "text")


def is_pair_folder(folder: Path) -> bool:
    """Whether a folder has w/ or l/; with only one of them it is a pair folder to complain about."""
    return (folder / "w").is_dir() or (folder / "l").is_dir()


def pair_rows(folder: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Rows with the columns ``prompt, w, l``, paths relative to the folder, and the origin of each row; sorted by name.

    The prompt of a pair named NAME is taken from metadata.jsonl (a line whose ``file_name`` is NAME with or without folder and
    suffix), else from NAME.txt in the folder, in w/ or in l/.

    Raises:
        UserError: an image without its counterpart, two images of one name, a pair without a prompt or with two different ones.
    """
    winners, losers = _images(folder, "w"), _images(folder, "l")
    for here, there, images, others in (("w", "l", winners, losers), ("l", "w", losers, winners)):
        for name in images:
            if name not in others:
                raise UserError(_unmatched(folder, here, there, images[name], sorted(others.keys() - images.keys())))
    prompts = _metadata(folder)
    rows = [
        {"prompt": prompts.get(name) or _caption(folder, name), "w": f"w/{image}", "l": f"l/{losers[name]}"}
        for name, image in winners.items()
    ]
    return rows, [f"{folder}, pair {name!r}" for name in winners]


def _unmatched(folder: Path, here: str, there: str, image: str, lonely: list[str]) -> str:
    name = Path(image).with_suffix("").as_posix()
    hint = f"; {plugins.nearest(name, lonely)}" if lonely else "; add it, or remove the image"
    return f"{folder / here / image} has no counterpart named {name} in {folder / there}{hint}"


def _images(folder: Path, side: str) -> dict[str, str]:
    root = folder / side
    if not root.is_dir():
        raise UserError(f"{folder} has no folder {side}/; put the preferred images in w/ and the others, under the same names, in l/")
    found: dict[str, str] = {}
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            relative = path.relative_to(root)
            name = relative.with_suffix("").as_posix()
            if name in found:
                raise UserError(f"{root / found[name]} and {path} have the same name; keep one, as names tell which images form a pair")
            found[name] = relative.as_posix()
    return found


def _metadata(folder: Path) -> dict[str, str]:
    path = folder / "metadata.jsonl"
    prompts: dict[str, str] = {}
    if not path.exists():
        return prompts
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if line.strip():
            name, prompt = _entry(line, f"{path}, line {number}")
            if prompts.setdefault(name, prompt) != prompt:
                raise UserError(f"{path}, line {number}, gives {name!r} a second, different prompt; a pair shares one prompt")
    return prompts


def _entry(line: str, origin: str) -> tuple[str, str]:
    try:
        cells = json.loads(line)
        file = Path(cells["file_name"])
        prompt = next(cells[key] for key in PROMPT_KEYS if isinstance(cells.get(key), str))
    except (ValueError, TypeError, KeyError, AttributeError, StopIteration) as error:
        raise UserError(f'{origin} needs the keys file_name and prompt; write it as {{"file_name": "a.png", "prompt": "..."}}') from error
    name = file.with_suffix("") if file.suffix.lower() in SUFFIXES else file
    return "/".join(name.parts[1:] if name.parts[:1] in (("w",), ("l",)) else name.parts), prompt


def _caption(folder: Path, name: str) -> str:
    files = [folder / side / f"{name}{suffix}" for side in ("", "w", "l") for suffix in CAPTIONS]
    texts = {file: file.read_text(encoding="utf-8-sig").strip() for file in files if file.exists()}
    if not texts:
        raise UserError(
            f"the pair {name!r} in {folder} has no prompt; write it to {folder / 'w' / name}.txt or to a line of metadata.jsonl"
        )
    if len(set(texts.values())) > 1:
        raise UserError(f"{' and '.join(map(str, texts))} differ; a pair shares one prompt, so keep one of them")
    return next(iter(texts.values()))
