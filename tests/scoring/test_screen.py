"""What the terminal shows: every table within its width, nothing that steers it, and what scores cannot say."""

import pyarrow as pa
import pytest

from mmalign.reward import Reward
from mmalign.scoring.output import schema
from mmalign.scoring.screen import told
from mmalign.scoring.terminal import aligned, cut, width_of


class Level(Reward):
    needs_prompt, differentiable, range, licence, source = False, False, (0.0, 255.0), "none", "here"
    unit = "a rather long unit of levels above the usual one"

    def _score(self, images, prompts):
        raise NotImplementedError


class Vote(Level):
    joint = True


def show(rows, titles=("level",), kind=Level, **settings):
    rewards = {title: kind() for title in titles}
    cells = [{"index": index, "error": None, **dict.fromkeys(titles, -0.123456), **row} for index, row in enumerate(rows)]
    return told(pa.Table.from_pylist(cells, schema=schema(rewards)), rewards, "rows", everything=True, **settings)


def test_tables_fit_into_the_width():
    rows = [{"image": "pictures/of/a/long/path/" + "x" * 30 + ".png", "prompt": "a prompt of many words " * 4}] * 3
    for count in (1, 2, 4, 9):
        titles = [f"reward_number_{place}" for place in range(count)]
        for width in (60, 80, 120):
            shown = show(rows, titles, width=width)
            units = [line for line in shown.splitlines() if Level.unit in line]
            tables = [line for line in shown.splitlines() if line not in units]
            assert len(units) == count
            assert max(map(len, tables)) <= width
            assert all(shown.split().count(title) == 2 for title in titles)
            assert ("a prompt of" in shown) == (16 + 2 + 16 + 17 * count <= width)


def test_a_wide_terminal_shows_more_of_names_and_prompts():
    (line,) = [line for line in show([{"image": "a.png", "prompt": "b" * 60}], width=200).splitlines() if line.startswith("a.png")]
    assert line.split() == ["a.png", "b" * 37 + "...", "-0.1235"]


def test_the_width_is_that_of_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    rows = [{"image": "a" * 50, "prompt": "b" * 50}]
    assert show(rows) == show(rows, width=60) != show(rows, width=80)


def test_letters_of_two_columns_and_accents_keep_the_columns_straight():
    lines = aligned([["name", "n"], ["\u4e2d\u6587", "1"], ["e\u0301te\u0301", "12"]], left=(0,))
    assert lines == ["name   n", "--------", "\u4e2d\u6587   1", "e\u0301te\u0301   12"]
    assert width_of("\u4e2d\u6587") == 4
    assert cut("\u4e2d\u6587\u4e2d\u6587\u4e2d\u6587", 9, end=True) == "\u4e2d\u6587\u4e2d..."


def test_nothing_steers_the_terminal():
    shown = show([{"image": "a\x1b[31m.png", "prompt": "x\u202ey\nz", "error": "bad\x07 name"}])
    assert "a?[31m.png" in shown
    assert "xy z" in shown
    assert "bad? name" in shown
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)


@pytest.mark.parametrize(("prompts", "said"), [("ab", True), ("aa", False), ("aab", False), ([None, None], False)])
def test_a_vote_of_one_says_nothing(prompts, said):
    shown = show([{"image": "a", "prompt": prompt} for prompt in prompts], kind=Vote)
    assert ("a vote among the images of one prompt, and no prompt has two" in shown) == said
    assert "a vote among" not in show([{"image": "a", "prompt": "a"}])
