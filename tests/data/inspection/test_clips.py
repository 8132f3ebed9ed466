"""What is found out about preferences over clips whose counts are known."""

import json

import pytest

from mmalign.cli import main
from mmalign.data.apng import apng
from mmalign.data.inspection import inspect
from mmalign.data.inspection.clip_sheet import SHOWN, WIDTH, sheet_of
from mmalign.data.inspection.kind import holds_responses
from mmalign.data.inspection.sheet import FRAME, GAP, TILE
from mmalign.data.inspection.text import told
from mmalign.data.sources import open_source
from tests.clips import folder_of, pictures


@pytest.fixture
def source(tmp_path):
    """Four rows: folders of 8 and 5 frames, files of 8; row 2 repeats row 1 the other way round, row 3 is broken."""
    folder_of(tmp_path / "a")
    folder_of(tmp_path / "b", shades=[10] * 5)
    (tmp_path / "c.png").write_bytes(apng(pictures(), 8))
    (tmp_path / "d.png").write_bytes(apng(pictures([20] * 8), 8))
    (tmp_path / "e.mp4").write_bytes(b"no film")
    rows = [("a fox", "a", "b"), ("a cat", "c.png", "d.png"), ("a cat", "d.png", "c.png"), ("a dog", "a", "e.mp4")]
    lines = [json.dumps(dict(zip(("prompt", "chosen", "rejected"), row, strict=True))) for row in rows]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    return tmp_path / "rows.jsonl"


def test_clips_are_counted_measured_and_compared(source):
    pytest.importorskip("av")
    images = inspect("auto", source)[0].images
    assert (images.rows, images.images, images.sizes) == (4, 6, {(32, 24): 6})
    assert (images.clips.frames, images.clips.uneven, images.clips.seconds) == ({5: 1, 8: 5}, 1, (pytest.approx(1.0),) * 2)
    [(row, before, other)] = images.duplicates
    assert (row.rpartition(", ")[2], before.rpartition(", ")[2], other) == ("line 3", "line 2", True)
    [complaint] = images.broken
    assert "the film" in complaint
    assert "e.mp4" in complaint
    assert "cannot be read" in complaint


def test_the_text_says_clips_frames_and_seconds(source):
    flat = " ".join(told(inspect("auto", source)[0]).split())
    assert "4, of which 4 prefer a clip" in flat
    assert "clips 6 in all rows, 2 a row" in flat
    assert "frames 5 to 8 a clip; of different lengths in 1 row; data.frames can be 5 at most" in flat
    assert "seconds 1 " in flat
    assert "preferring another clip" in flat


def test_the_command_draws_a_sheet_and_writes_everything(source, tmp_path, capsys):
    assert main(["data", "inspect", str(source), "--sheet", str(tmp_path / "sheet.png"), "--json", str(tmp_path / "facts.json")]) == 0
    assert "data.frames can be 5" in " ".join(capsys.readouterr().out.split())
    assert json.loads((tmp_path / "facts.json").read_text())["images"]["clips"]["frames"] == {"5": 1, "8": 5}
    assert (tmp_path / "sheet.png").stat().st_size > 0


def test_rows_of_clips_are_no_responses(source):
    assert not holds_responses("auto", open_source(source), {})


def test_frames_stand_side_by_side_and_clips_one_below_the_other(source):
    """Of eight frames in six parts: 0, 2, 3, 4, 6, 7, each part's middle; shades are 30 apart."""
    _, examples = inspect("auto", source)
    sheet = sheet_of([examples[1]])
    assert sheet.width == WIDTH
    middles = [GAP + number * TILE + TILE // 2 for number in range(SHOWN)]
    assert [sheet.getpixel((x, GAP + TILE // 2))[0] for x in middles] == [0, 60, 90, 120, 180, 210]
    assert [sheet.getpixel((x, GAP + TILE + GAP + TILE // 2))[0] for x in middles] == [20] * 6
    assert sheet.getpixel((GAP, GAP + TILE // 2)) == (0x1A, 0x7F, 0x37)
    assert sheet.getpixel((GAP, GAP + TILE + GAP + TILE // 2)) == (255, 255, 255)


def test_a_clip_that_cannot_be_read_is_a_red_field(source):
    _, examples = inspect("auto", source)
    sheet = sheet_of([examples[3]])
    assert sheet.getpixel((WIDTH // 2, GAP + TILE + GAP + FRAME + 5)) == (0xCF, 0x22, 0x2E)
