"""Rows that cannot be read: a sentence, or a neighbor in their place."""

import logging

import pytest

from mmalign.errors import UserError
from mmalign.training.loader import read_ahead


class Rows:
    """Ten rows, some of which are broken; a row says which it is and where it was asked for."""

    def __init__(self, *broken):
        self.broken = broken

    def __len__(self):
        return 10

    def __getitem__(self, item):
        row, position = item
        if row in self.broken:
            raise UserError(f"row {row} is broken; replace it")
        return row, position


ITEMS = [[(0, 0), (3, 1)], [(9, 2), (5, 3)], [(3, 4), (4, 5)]]


def test_a_broken_row_is_one_sentence_at_its_turn():
    batches = read_ahead(Rows(9), ITEMS, list)
    assert next(batches) == [(0, 0), (3, 1)]
    with pytest.raises(UserError, match="^row 9 is broken; replace it$"):
        next(batches)


@pytest.mark.parametrize("workers", [0, 2])
def test_where_it_is_skipped_the_next_row_takes_its_place_and_its_position(workers, caplog):
    with caplog.at_level(logging.WARNING):
        batches = list(read_ahead(Rows(3, 9, 4), ITEMS, list, workers, on_broken="skip"))
    assert batches == [[(0, 0), (5, 1)], [(0, 2), (5, 3)], [(5, 4), (5, 5)]]
    assert [record.message for record in caplog.records] == [
        "left out a row that is broken, which makes 1 so far: row 3 is broken",
        "left out a row that is broken, which makes 2 so far: row 4 is broken",
        "left out a row that is broken, which makes 3 so far: row 9 is broken",
    ]


def test_what_a_row_meets_does_not_depend_on_where_reading_begins():
    whole = list(read_ahead(Rows(3), ITEMS, list, on_broken="skip"))
    assert list(read_ahead(Rows(3), ITEMS[1:], list, on_broken="skip")) == whole[1:]


def test_where_no_row_can_be_read_it_is_said():
    with pytest.raises(UserError, match="row 0 is broken"):
        next(read_ahead(Rows(*range(10)), ITEMS, list, on_broken="skip"))


def test_a_mistake_in_a_batch_is_one_sentence():
    def refuse(rows):
        raise UserError("rows differ")

    with pytest.raises(UserError, match="^rows differ$"):
        next(read_ahead(Rows(), ITEMS, refuse))
