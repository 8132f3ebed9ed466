"""Which column holds what: the one that was named, or the one whose name tells."""

from collections.abc import Sequence

from mmalign.errors import UserError
from mmalign.plugins import nearest

IMAGE_COLUMNS = ("image", "img", "picture", "photo", "jpg", "jpeg", "png", "webp")
IMAGE_COLUMNS += ("image_path", "img_path", "image_file", "file_name", "filename", "file_path", "path", "file")


def find_column(
    table: str, columns: Sequence[str], asked: str | None, known: Sequence[str], what: str, key: str | None = None, needed: bool = True
) -> str | None:
    """A column's name.

    Args:
        table: what messages call the table.
        columns: those there are.
        asked: the one that was named; None = the first of ``known`` that is there, upper and lower case alike.
        known: usual names.
        what: what messages call the column.
        key: the key that names it; None where there is none.
        needed: whether the lack of it is a mistake, where it was not named.

    Raises:
        UserError: there is no such column.
    """
    if asked is None:
        lower = {column.lower(): column for column in reversed(columns)}
        if found := next((lower[name] for name in known if name in lower), None):
            return found
        if not needed:
            return None
    elif asked in columns:
        return asked
    there = ", ".join(map(repr, columns)) or "none"
    if asked is None:
        remedy = f"name it by {key}" if key else f"call it {known[0]}"
        raise UserError(f"{table} has no {what} ({', '.join(known[:3])} ...), its columns are: {there}; {remedy}")
    hint = nearest(asked, list(columns))
    raise UserError(f"{table} has no column {asked!r}, its columns are: {there}; {hint if hint.startswith('did') else f'correct {key}'}")
