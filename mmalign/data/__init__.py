"""Preference data: any source, any format, one schema.

``load("auto", source)`` opens a file, a folder, a `datasets` object or rows in memory, finds out what its columns mean, and gives
``Example``s whose images are read when asked for. Training never sees a format.
"""

from collections.abc import Sequence
from typing import Any, Literal

from mmalign.data.detect import choose
from mmalign.data.examples import Examples, read, require_some
from mmalign.data.reader import Ties
from mmalign.data.schema import Example
from mmalign.data.sources import Source, open_source
from mmalign.errors import UserError
from mmalign.images import ImageSource, open_image

__all__ = ["Example", "Examples", "ImageSource", "load", "open_image"]


def load(
    name: str,
    source: Source | Sequence[Example],
    *,
    split: str | None = None,
    ties: Ties = "drop",
    on_broken: Literal["raise", "skip", "later"] = "raise",
    stream: int | None = None,
    **fields: Any,
) -> Sequence[Example]:
    """The examples of a source, in its order.

    Args:
        name: a reader in ``mmalign.data.readers``, a dotted module with one, or "auto" to tell by the columns.
        source: a path (Parquet, Arrow, JSONL, JSON, CSV, .tar shards, a folder), a `datasets` object, a list of dictionaries,
            examples (given back as they are), or, where nothing lies at that path, the "owner/name" of a data set on the hub.
        split: which split to read, where there are several; "train" unless given.
        ties: of rows that prefer no image: "drop" leaves them out; "soft" keeps them once, with ``preference`` 0.5; "half" keeps them
            in both orders, each with half the weight, which every method understands.
        on_broken: "raise" when a broken image is opened, and now if the first one is not there; "skip" to decode every image now and
            leave out the rows with a broken one; "later" to look at no image now, for one who opens all of them anyway.
        stream: of a data set on the hub: read so many rows over the network, which later runs find on the disk, in place of all of it.
        fields: of the reader: the names of the columns, such as ``caption="text"``.

    Raises:
        UserError: nothing there, unreadable, empty, wrong columns, unknown reader or field.
    """
    if on_broken not in ("raise", "skip", "later"):
        raise UserError(f"on_broken={on_broken!r} is unknown; say 'raise' or 'skip'")
    if isinstance(source, Examples) or (isinstance(source, list | tuple) and source and isinstance(source[0], Example)):
        return source
    table = open_source(source, split, stream)
    if not len(table):
        raise UserError(f"{table.name} is empty; give a source with at least one row")
    reader = choose(name, table, fields)
    examples = read(reader.arranged(table), reader, ties)
    if on_broken == "skip":
        return require_some(examples.without_broken(), table)
    return examples.check_first() if on_broken == "raise" else examples
