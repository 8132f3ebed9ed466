"""What the words of a user point at, as one listing of pictures."""

import difflib
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from mmalign.config import ScoreConfig
from mmalign.data.pair_folder import CAPTIONS
from mmalign.data.separated import SEPARATORS
from mmalign.data.sources import open_source
from mmalign.errors import UserError
from mmalign.prompts import load_prompts
from mmalign.scoring import captions
from mmalign.scoring.files import Files
from mmalign.scoring.paths import files_below, image_suffixes, is_image, looks_like_image, matches
from mmalign.scoring.pictures import Listing, Pictures
from mmalign.scoring.shards import Shards
from mmalign.scoring.tables import Rows

TABLES = (".parquet", ".jsonl", ".ndjson", ".json", *SEPARATORS)
SAVED = ("dataset_dict.json", "state.json")
"""What `datasets` leaves in a folder it saves to."""
SHARD = ".tar"
KINDS = "an image, a film, a folder, a glob in quotes, a .tar shard, or a .parquet, .jsonl, .json, .csv or .tsv file"


def open_pictures(config: ScoreConfig) -> Listing:
    """All images of a configuration, with their prompts.

    Raises:
        UserError: nothing is there, a table lacks a column, or prompts and images do not match in number.
    """
    given = config.prompt if config.prompts_file is None else load_prompts(config.prompts_file)
    roots: list[Path] = []
    found = [item for word in config.images for item in _opened(word, config, roots)]
    sources: list[Pictures] = []
    for kind, items in groupby(_without_captions(found), key=_kind):
        sources += _joined(kind, list(items), config, roots, given is not None)
    _all_keys_used(config, sources)
    return Listing(sources, given, config.limit)


def _all_keys_used(config: ScoreConfig, sources: list[Pictures]) -> None:
    for key in ("image_column", "split"):
        if getattr(config, key) is not None and all(isinstance(source, Files) for source in sources):
            raise UserError(f"{key} is about tables, but these images are files; leave it out")


def _opened(word: str, config: ScoreConfig, roots: list[Path]) -> Iterator[Path | Pictures]:
    """Image files and shards as paths, to be joined with their neighbors; tables opened."""
    paths = matches(word)
    if not paths:
        yield _named(word, config)
    for path in paths:
        if not path.is_dir():
            # of what a glob matches, only what can be meant
            if path == Path(word).expanduser() or is_image(path) or path.suffix.lower() in ("", *TABLES, SHARD):
                yield path
        elif below := _images_or_shards(path):
            roots.append(path)
            yield from below
        elif _maybe_table(path):
            yield _rows(path, config)
        else:
            raise UserError(f"{path} holds no images, no .tar shards and no table; check the path")


def _images_or_shards(folder: Path) -> list[Path]:
    """What a folder holds: its images where it has any, else its shards. A folder with neither may be a data set."""
    if any((folder / name).exists() for name in SAVED):
        return []
    return files_below(folder, image_suffixes()) or files_below(folder, frozenset([SHARD]))


def _maybe_table(folder: Path) -> bool:
    """Whether a folder without images may be a data set."""
    return any((folder / name).exists() for name in SAVED) or any(file.suffix in TABLES for file in folder.rglob("*"))


def _named(word: str, config: ScoreConfig) -> Rows:
    """A data set on the hub, unless the word looks like a file that is missing."""
    path = Path(word).expanduser()
    if is_image(path) or path.suffix in (*TABLES, SHARD):
        near = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        close = difflib.get_close_matches(path.name, near, n=1, cutoff=0.5)
        raise UserError(f"{word} does not exist; {f'did you mean {close[0]!r}?' if close else 'check the path'}")
    return _rows(word, config)


def _rows(source: Path | str, config: ScoreConfig) -> Rows:
    return Rows(open_source(source, config.split), config.image_column, config.prompt_column)


def _without_captions(found: Iterable[Path | Pictures]) -> Iterator[Path | Pictures]:
    """A shell's ``folder/*`` names the images' captions too."""
    found = list(found)
    images = {path.with_suffix("") for path in found if isinstance(path, Path) and is_image(path)}
    folders = {path.parent for path in images}
    for item in found:
        if isinstance(item, Path):
            text = item.suffix == ".json" and item.with_suffix("") in images
            table = item.name in captions.TABLES and item.parent in folders
            if text or table or (images and item.suffix in CAPTIONS):
                continue
        yield item


def _kind(item: Path | Pictures) -> str:
    if isinstance(item, Pictures):
        return "opened"
    if item.suffix.lower() in (*TABLES, SHARD):
        return item.suffix.lower()
    if is_image(item) or looks_like_image(item):
        return "image"
    raise UserError(f"{item} is not {KINDS}; leave it out")


def _joined(kind: str, items: list, config: ScoreConfig, roots: list[Path], given: bool) -> Iterator[Pictures]:
    if kind == "opened":
        yield from items
    elif kind == "image":
        where = None if given else captions.find_captions(config.captions, items, roots, config.prompt_column)
        yield Files(items, where)
    elif kind == SHARD:
        yield Shards(items, config.image_column, config.prompt_column)
    else:
        yield from (_rows(item, config) for item in items)
