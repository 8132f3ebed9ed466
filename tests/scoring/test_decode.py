"""Decoding: once, in order, in groups that fit into memory, with errors kept by the row."""

import threading
import time
from itertools import chain

import pytest
from PIL import Image

from mmalign.errors import UserError
from mmalign.scoring.decode import PIXELS, decoded_groups
from mmalign.scoring.pictures import Picture


class Square(Picture):
    """A picture of a side; counts how often it is read."""

    def __init__(self, side, prompt="p"):
        self.name, self._side, self._prompt, self.reads = f"square {side}", side, prompt, 0

    def image(self):
        self.reads += 1
        if self._side == 0:
            raise UserError("it is empty; draw something")
        return Image.new("RGB", (self._side, self._side))

    def prompt(self):
        if self._prompt is None:
            raise UserError("there is no text; write one")
        return self._prompt


def groups(rows, workers=2, whole_prompts=False, pixels=PIXELS, count=512):
    found = [[row.index for row in group] for group in decoded_groups(rows, workers, whole_prompts, pixels, count)]
    assert list(chain(*found)) == [index for _, index, _ in rows]
    return found


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_group_ends_with_the_row_that_fills_it_and_with_its_chunk(workers):
    rows = [(index // 5, index, Square(side)) for index, side in enumerate([3, 3, 3, 6, 1, 9, 1, 1])]
    assert groups(rows, workers, count=2) == [[0, 1], [2, 3], [4], [5, 6], [7]]
    assert [picture.reads for _, _, picture in rows] == [1] * 8
    rows = [(index // 5, index, Square(side)) for index, side in enumerate([3, 3, 3, 6, 1, 9, 1, 1])]
    assert groups(rows, workers, pixels=18) == [[0, 1], [2, 3], [4], [5], [6, 7]]
    assert [picture.reads for _, _, picture in rows] == [1] * 8


def test_rows_of_one_prompt_are_not_parted_where_they_must_not_be():
    rows = [(0, index, Square(4, prompt)) for index, prompt in enumerate("aabbbc")]
    assert groups(rows, pixels=16) == [[0], [1], [2], [3], [4], [5]]
    assert groups(rows, whole_prompts=True, pixels=16) == [[0, 1], [2, 3, 4], [5]]
    assert groups(rows, whole_prompts=True, count=1) == [[0, 1], [2, 3, 4], [5]]


def test_what_is_wrong_is_noted_without_its_remedy():
    rows = [(0, 0, Square(0)), (0, 1, Square(2, None)), (0, 2, UserError("row 2 is torn; mend it")), (0, 3, Square(2))]
    (group,) = decoded_groups(rows, 2, False)
    assert [row.errors for row in group] == [["it is empty"], [], ["row 2 is torn"], []]
    assert [len(row.frames) for row in group] == [0, 1, 0, 1]
    assert (group[1].prompt, group[1].lacking) == (None, "there is no text")


def test_a_decoder_that_raises_anything_is_one_row(monkeypatch):
    def broken(source, origin):
        raise RuntimeError("codec\nerror")

    monkeypatch.setattr("mmalign.scoring.decode.open_image", broken)
    (group,) = decoded_groups([(0, 0, Square(2))], 1, False)
    assert group[0].errors == ["codec error"]


def test_the_next_group_is_decoded_while_one_is_scored_and_not_more():
    rows = [(0, index, Square(4)) for index in range(40)]
    coming = decoded_groups(rows, 1, False, pixels=4 * 16)
    next(coming)
    deadline = time.monotonic() + 5
    while sum(picture.reads for _, _, picture in rows) < 9 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    # two groups of four, the row that began the third, and two ahead of the thread that decodes
    assert 9 <= sum(picture.reads for _, _, picture in rows) <= 4 + 4 + 1 + 1 + 2
    coming.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]
