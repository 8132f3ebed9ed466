"""Opening what a user points at: a file, a folder, a `datasets` object, rows in memory, or the id of a data set on a hub.

This module only finds the rows; what their columns mean is for the readers, so every reader works over every source.
"""

import atexit
import difflib
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmalign import plugins
from mmalign.data.pair_folder import is_pair_folder, pair_rows
from mmalign.data.parquet import ParquetTable
from mmalign.data.rows import exists
from mmalign.data.separated import SEPARATORS, read_separated
from mmalign.data.shards import ShardsTable
from mmalign.data.streamed import keep, kept
from mmalign.data.tables import DatasetTable, JsonLinesTable, RowsTable, Table
from mmalign.data.votes_layout import is_votes
from mmalign.data.votes_table import VotesTable, kinds
from mmalign.errors import UserError

Source = Any
"""A path, a hub id, a `datasets.Dataset` or `DatasetDict`, or a list of dictionaries."""

KINDS = (
    "a .parquet, .arrow, .jsonl, .json, .csv, .tsv or .tar file, the app's file of votes, a folder of Parquet files or .tar shards, "
    "a folder with one .jsonl file, a folder with w/ and l/, or a folder written by save_to_disk"
)
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_FILES = (".parquet", ".arrow", ".jsonl", ".json", ".tar", *SEPARATORS)
_SPLIT_FILE = re.compile(r"(.+?)-\d{5}-of-\d{5}(-[0-9a-f]{16})?")


def open_source(source: Source, split: str | None = None, stream: int | None = None) -> Table:
    """The rows of a source.

    Args:
        split: which split to read, where the source has several; "train" unless given.
        stream: of a data set on the hub, or of one that is streamed: the first so many rows, which are kept on the disk.

    Raises:
        UserError: there is nothing at the path, it is of no known kind, or it has no such split.
    """
    try:
        table = _open(source, split, stream)
    except (OSError, ValueError) as error:
        raise UserError(f"{source} cannot be read ({error}); check the path and who may read it") from error
    if stream is not None and not table.streamed:
        raise UserError(f"{table.name} is here already, so there is nothing to stream; leave stream out (limit takes the first rows)")
    if split not in (None, "train", table.split):
        raise UserError(f"{table.name} has no splits, so there is no {split!r} in it; leave the split out")
    return table


def _open(source: Source, split: str | None, stream: int | None) -> Table:
    if isinstance(source, Path):
        return _open_path(source.expanduser(), split)
    if isinstance(source, str):
        if not source.strip():
            raise UserError("the source is empty text; give a path, or the name of a data set on the hub")
        return _open_name(source, split, stream)
    if "datasets" in sys.modules and type(source).__module__.startswith("datasets."):
        return _open_dataset(source, split, "the data set", stream)
    if isinstance(source, Sequence) and not isinstance(source, bytes):
        return _open_rows(source, "the list", None)
    raise UserError(f"a data source cannot be a {type(source).__name__}; give a path, a `datasets.Dataset` or a list of dictionaries")


def _open_name(name: str, split: str | None, stream: int | None) -> Table:
    path = Path(name).expanduser()
    if exists(path) or not _may_be_hub_id(name):
        return _open_path(path, split)
    if stream is not None and (table := _kept(name, split, stream)) is not None:
        return table
    import datasets

    try:
        dataset = datasets.load_dataset(name, **({} if stream is None else {"streaming": True}))
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{name!r} is no file or folder here, and `datasets` could not load it ({reason}); check the path") from error
    return _open_dataset(dataset, split, name, stream)


def _may_be_hub_id(name: str) -> bool:
    # "data/pair" beside an existing folder data/ is a slip in a path, not a reason to go to the network
    return bool(_HUB_ID.fullmatch(name)) and Path(name).suffix not in _FILES and not Path(name).parent.exists()


def _open_path(path: Path, split: str | None) -> Table:
    if not exists(path):
        raise UserError(f"{path} does not exist; {_neighbor(path)}")
    if path.is_dir():
        return _open_folder(path, split)
    if is_votes(path):
        return _open_votes(path, split)
    if path.suffix == ".parquet":
        return ParquetTable([path], str(path))
    if path.suffix == ".tar":
        return ShardsTable([path], str(path))
    if path.suffix == ".arrow":
        import datasets

        return DatasetTable(datasets.Dataset.from_file(str(path)), str(path), path.parent)
    if path.suffix in (".jsonl", ".ndjson"):
        return JsonLinesTable(path)
    if path.suffix == ".json":
        return _open_json(path)
    if path.suffix.lower() in SEPARATORS:
        rows = list(read_separated(path))
        table = RowsTable([cells for cells, _ in rows], str(path), path.parent, [origin for _, origin in rows])
        return _kind(table, f"a table ({path.suffix.lower()})")
    raise UserError(f"{path} is of no known kind; give {KINDS}")


def _neighbor(path: Path) -> str:
    if not path.parent.is_dir():
        return f"nor does the folder {path.parent}; give the path of your preferences (`mmalign data` looks at what is there)"
    close = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()], n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"nothing in {path.parent} has a name like it"


def _open_folder(path: Path, split: str | None) -> Table:
    if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
        import datasets

        return _open_dataset(datasets.load_from_disk(str(path)), split, str(path))
    if is_pair_folder(path):
        rows, origins = pair_rows(path)
        return _kind(RowsTable(rows, str(path), path, origins), "a folder with w/ and l/")
    if files := sorted(path.rglob("*.parquet")):
        return _open_parquet_files(files, path, split)
    if shards := sorted(path.rglob("*.tar")):
        return ShardsTable(shards, str(path))
    lines = sorted(path.glob("*.jsonl"))
    if len(lines) == 1:
        return JsonLinesTable(lines[0])
    if lines:
        raise UserError(f"{path} has several .jsonl files ({', '.join(file.name for file in lines)}); give one of them")
    raise UserError(f"{path} holds no data of a known kind; give {KINDS}")


def _open_parquet_files(files: list[Path], folder: Path, split: str | None) -> Table:
    """One split where the names tell splits apart, as in train-00000-of-00002.parquet; else all."""
    splits: dict[str, list[Path]] = {}
    for file in files:
        match = _SPLIT_FILE.fullmatch(file.stem)
        splits.setdefault(match[1] if match else "", []).append(file)
    if "" in splits:
        return ParquetTable(files, str(folder))
    chosen = _pick_split(list(splits), str(folder), split)
    table = ParquetTable(splits[chosen], f"{folder} ({chosen})")
    table.split = chosen
    return table


def _open_votes(path: Path, split: str | None) -> Table:
    there = kinds(path)
    if not there:
        raise UserError(f"{path} holds no votes yet; vote in the app first")
    return VotesTable(path, _pick_split(there, str(path), split))


def _open_json(path: Path) -> Table:
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}); for one object a line name the file .jsonl") from error
    if not isinstance(rows, list):
        raise UserError(f"{path} does not hold a list; write a list of objects, or one object a line in a .jsonl file")
    return _kind(_open_rows(rows, str(path), path.parent), "a JSON list")


def _kind(table: Table, words: str) -> Table:
    table.kind = words
    return table


def _open_rows(rows: Sequence[Any], name: str, folder: Path | None) -> Table:
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise UserError(f"{name}, row {index}, is a {type(row).__name__}; every row must be a dictionary with the columns as keys")
    return RowsTable(rows, name, folder)


def _open_dataset(dataset: Any, split: str | None, name: str, stream: int | None = None) -> Table:
    chosen, folder, short = None, Path(name) if Path(name).is_dir() else None, name
    if isinstance(dataset, Mapping):
        chosen = _pick_split(list(dataset), name, split)
        dataset, name = dataset[chosen], f"{name} ({chosen})"
    if not hasattr(dataset, "with_format"):
        raise UserError(f"{name} cannot be read; give a `datasets.Dataset`, a `datasets.IterableDataset` or a list of dictionaries")
    if hasattr(dataset, "__len__"):
        table: Table = DatasetTable(dataset, name, folder)
    else:
        table = keep(dataset, _place(short, chosen), stream, name)
        table.streamed = True
    table.split = chosen
    return table


def _kept(name: str, split: str | None, rows: int) -> Table | None:
    """The rows of a stream, where an earlier run has kept so many."""
    chosen = split or "train"
    table = kept(_place(name, chosen), rows, f"{name} ({chosen})")
    if table is not None:
        table.split, table.streamed = chosen, True
    return table


def _place(name: str, split: str | None) -> Path:
    """Where the rows of a stream are kept: beside what `datasets` keeps, or for this process alone where the stream has no name."""
    if _HUB_ID.fullmatch(name):
        import datasets

        return Path(datasets.config.HF_DATASETS_CACHE) / "mmalign_streams" / name.replace("/", "___") / (split or "all")
    folder = Path(tempfile.mkdtemp(prefix="mmalign-stream-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _pick_split(splits: list[str], name: str, split: str | None) -> str:
    if split is None and len(splits) == 1:
        return splits[0]
    wanted = split or "train"
    if wanted not in splits:
        raise UserError(f"{name} has no split {wanted!r}; {plugins.nearest(wanted, splits)}")
    return wanted
