"""The file that blind votes are kept in: an SQLite database that both the store of votes and the reader of preferences open."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmalign.errors import UserError

APPLICATION, VERSION = 0x6D6D766F, 1
"""What an SQLite file says about itself: that it holds votes ("mmvo"), and in which layout."""

TABLES = """
CREATE TABLE images (digest TEXT PRIMARY KEY, png BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE models (key TEXT PRIMARY KEY, name TEXT NOT NULL, about TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE rounds (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    session TEXT NOT NULL,
    voter TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('pictures', 'answers')),
    prompt TEXT NOT NULL,
    settings TEXT NOT NULL,
    opened REAL NOT NULL,
    left_model TEXT NOT NULL REFERENCES models (key),
    right_model TEXT NOT NULL REFERENCES models (key),
    left_side TEXT NOT NULL,
    right_side TEXT NOT NULL
);
CREATE TABLE shown (
    round INTEGER NOT NULL REFERENCES rounds (number),
    place INTEGER NOT NULL,
    image TEXT NOT NULL REFERENCES images (digest),
    PRIMARY KEY (round, place)
) WITHOUT ROWID;
CREATE TABLE votes (
    round INTEGER PRIMARY KEY REFERENCES rounds (number),
    choice TEXT NOT NULL CHECK (choice IN ('left', 'right', 'tie', 'both_bad', 'skip')),
    voted REAL NOT NULL
);
"""
"""A round is two sides shown to one session; a side is the digest of a picture, or the text of an answer. ``shown`` are the pictures of a
question. A round has one vote at most, because its number is the key of the vote. Times are seconds since 1970. No addresses are kept."""


def is_votes(path: Path) -> bool:
    """Whether a file is an SQLite database, whatever it holds."""
    try:
        with path.open("rb") as file:
            return file.read(16) == b"SQLite format 3\x00"
    except OSError:
        return False


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, to read from only.

    Raises:
        UserError: it holds no votes, votes of another layout, or is damaged.
    """
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=30)
        try:
            check(connection, path)
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise UserError(f"{path} cannot be read as votes ({error}); give the file that the app writes") from error


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Raises UserError if a database holds no votes of this layout."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION:
        raise UserError(f"{path} is a database without votes; give the file that the app writes, or a new name")
    if version != VERSION:
        raise UserError(
            f"{path} holds votes in layout {version}, and this mmalign reads {VERSION}; update mmalign, or export with the other"
        )
