"""Rows that hold several judgments as one row for each of them."""

from collections.abc import Mapping
from typing import Any

from mmalign.data.tables import Table
from mmalign.errors import UserError


class UnfoldedTable(Table):
    """The records in a column of lists, each as a row of its own: the cells of its row, with the record's keys laid over them.

    Rows stand in the order of the table, and records in that of their list; a row with an empty list gives none.

    Raises:
        UserError: a cell of the column is no list of records.
    """

    def __init__(self, table: Table, column: str):
        self._table, self._column = table, column
        self.name, self.kind, self.folder, self.split = table.name, table.kind, table.folder, table.split
        self.gaps = table.gaps
        self._records: list[tuple[int, int, Mapping[str, Any]]] = []
        for row, cell in enumerate(table.column(column)):
            if not isinstance(cell, list | tuple) or not all(isinstance(record, Mapping) for record in cell):
                raise UserError(f"{table.origin(row)}: column {column!r} holds no list of records; correct the row or leave it out")
            self._records += [(row, place, record) for place, record in enumerate(cell)]
        keys = dict.fromkeys(key for _, _, record in self._records for key in record)
        self.columns = tuple(dict.fromkeys([*table.columns, *keys]))

    def __len__(self) -> int:
        return len(self._records)

    def cells(self, index: int) -> Mapping[str, Any]:
        row, _, record = self._records[index]
        return {**self._table.cells(row), **record}

    def column(self, name: str) -> list[Any]:
        there = self._table.column(name) if name in self._table.columns else [None] * len(self._table)
        return [record.get(name, there[row]) for row, _, record in self._records]

    def origin(self, index: int) -> str:
        row, place, _ = self._records[index]
        return f"{self._table.origin(row)}, judgment {place}"
