"""Plain text tables for terminals."""

from collections.abc import Collection, Sequence


def aligned(rows: Sequence[Sequence[str]], text: Collection[int] = (0,)) -> list[str]:
    """Lines of a table whose first row is its head, with a rule below it.

    Args:
        text: columns that stand to the left; the others, with numbers, to the right.

    >>> print("\\n".join(aligned([["name", "n"], ["a", "12"]])))
    name   n
    --------
    a     12
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column in text else cell.rjust(width) for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return [line.rstrip() for line in [lines[0], "-" * len(lines[0]), *lines[1:]]]
