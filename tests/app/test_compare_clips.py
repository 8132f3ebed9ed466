"""Compare on models of films: clips on the sheet, in the files, and scored by their frames."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmalign import pipelines, rewards
from mmalign.app import grid
from mmalign.app.comparing import Comparing, told
from mmalign.app.tabs.compare import endpoint
from mmalign.compare import Studio, View
from mmalign.data.films import frames_of, measure
from tests import tiny_families

SIZE = {"steps": 2, "guidance": 1.0, "width": 16, "height": 16, "frames": 5}


@pytest.fixture(scope="module")
def comparing(tmp_path_factory):
    place, count = tmp_path_factory.mktemp("kept"), iter(range(100))

    def keep(name, content):
        file = place / str(next(count)) / name
        file.parent.mkdir()
        file.write_bytes(content)
        return file

    return Comparing(Studio(pipelines.load(tiny_families.wan()), {}, {"colorfulness": rewards.load("colorfulness")}), keep)


@pytest.fixture(scope="module")
def sheet(comparing):
    *_, sheet = comparing.draw(View("a cat", seeds=(1, 2), rewards=("colorfulness",), **SIZE))
    assert not sheet.trouble
    return sheet


def test_the_files_of_a_sheet_move(sheet):
    for cell in sheet.cells.values():
        found = measure(cell.file)
        assert (found.frames, found.size, found.seconds) == (5, (16, 16), pytest.approx(5 / 16))
        assert f'src="{cell.file}"' in grid.html(sheet)


def test_scores_are_the_means_over_frames(sheet):
    reward = rewards.load("colorfulness")
    for row, cell in zip(told(sheet), sheet.cells.values(), strict=True):
        frames = [frame.picture() for frame in frames_of(cell.file)]
        assert row["scores"]["colorfulness"] == pytest.approx(float(reward.score(frames).mean()), rel=1e-5)


def test_what_is_downloaded_together_moves_and_says_how_it_was_drawn(comparing, sheet, tmp_path):
    with zipfile.ZipFile(comparing.bundled(sheet)) as archive:
        archive.extractall(tmp_path)
    for cell in sheet.cells.values():
        one, other = (list(frames_of(file)) for file in (cell.file, tmp_path / cell.file.name))
        assert len(one) == 5
        assert all(np.array_equal(a.picture(), b.picture()) for a, b in zip(one, other, strict=True))
        assert comparing.opened_view(tmp_path / cell.file.name) == sheet.view.only("base", sheet.view.seeds[int("seed2" in cell.file.name)])


def test_the_slider_lies_between_first_frames(comparing, sheet):
    left, right = comparing.pair(sheet, "base", "base", 1)
    with Image.open(sheet.cells[1, "base"].file) as first:
        assert np.array_equal(left, first.convert("RGB"))
    assert np.array_equal(left, right)


def test_programs_ask_for_frames(comparing):
    said, files = endpoint(comparing)("a cat", seeds="3", steps=2, guidance=1.0, width=16, height=16, frames=9)
    assert "frames=9" in said["link"]
    assert [measure(Path(file["path"])).frames for file in files] == [9]
