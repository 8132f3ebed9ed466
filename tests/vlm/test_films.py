"""Which frames of a film are taken, from films whose frames say which they are, written here by the decoder's own library."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmalign.errors import UserError
from mmalign.frames import evenly
from mmalign.vlm.films import moments, read_film
from tests.vlm.models import picture


def write(path: Path, frames: int, rate: int = 10, group: int = 12) -> Path:
    """A film whose frame i has the digits of i in base 2 as eight black or white bars; every ``group``-th frame needs no other."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 48, "yuv420p", group
        for number in range(frames):
            bars = np.repeat([255 * (number >> bit & 1) for bit in range(8)], 8).astype(np.uint8)
            pixels = np.broadcast_to(bars[None, :, None], (48, 64, 3))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")))
        container.mux(stream.encode())
    return path


def numbers(film) -> list[int]:
    """Which frames these are."""
    means = [np.asarray(frame).reshape(48, 8, 8, 3).mean((0, 2, 3)) for frame in film.frames]
    return [sum(1 << bit for bit in range(8) if bars[bit] > 127) for bars in means]


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [100]), (2, [50, 150]), (4, [25, 75, 125, 175]), (8, [12, 37, 62, 87, 112, 137, 162, 187])]
)
def test_the_frames_are_those_in_the_middle_of_equal_parts(tmp_path, count, expected):
    film = read_film(write(tmp_path / "film.mp4", 200), count)
    assert film.duration == pytest.approx(20.0)
    assert film.times == pytest.approx([place / 10 for place in expected])
    assert numbers(film) == expected
    assert film.frames[0].size == (64, 48)


def test_a_jump_gives_the_pixels_that_reading_on_gives(tmp_path):
    path = write(tmp_path / "film.mp4", 200)
    every, few = read_film(path, 200), read_film(path, 5)
    assert every.times == pytest.approx([place / 10 for place in range(200)])
    for frame, time in zip(few.frames, few.times, strict=True):
        assert np.array_equal(np.asarray(frame), np.asarray(every.frames[round(time * 10)]))


def test_a_rate_gives_fewer_frames_of_a_short_film(tmp_path):
    path = write(tmp_path / "film.mp4", 30)
    assert read_film(path, 8, fps=1.0).times == pytest.approx([0.5, 1.5, 2.5])
    assert len(read_film(path, 8, fps=100.0).frames) == 8


def test_frames_are_told_with_their_times(tmp_path):
    told = read_film(write(tmp_path / "film.mp4", 40), 4).metadata
    assert [place / told["fps"] for place in told["frames_indices"]] == pytest.approx([0.5, 1.5, 2.5, 3.5])
    assert told["total_num_frames"] / told["fps"] == told["duration"] == pytest.approx(4.0)


def test_pictures_and_folders_of_pictures_are_films(tmp_path):
    images = tuple(picture(seed) for seed in range(6))
    for place, image in enumerate(images):
        image.save(tmp_path / f"{place}.png")
    (tmp_path / "notes.txt").write_text("no frame")
    given, found = read_film(images, 3, fps=2.0), read_film(tmp_path, 3, fps=2.0)
    for film in (given, found):
        assert film.times == (0.5, 1.5, 2.5)
        assert film.duration == 3.0
        assert [np.array_equal(np.asarray(f), np.asarray(images[i])) for f, i in zip(film.frames, (1, 3, 5), strict=True)] == [True] * 3


def test_frames_of_other_sizes_are_brought_to_that_of_the_first():
    film = read_film((picture(0, 20, 30), picture(1, 40, 40)), 8)
    assert [frame.size for frame in film.frames] == [(30, 20), (30, 20)]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [("film.mp4", b"no film", "cannot be read"), ("missing.mp4", None, "cannot be read"), ("folder", "folder", "holds no pictures")],
)
def test_what_is_no_film_is_told_in_a_sentence(tmp_path, name, content, said):
    if content != "folder":
        pytest.importorskip("av")
    place = tmp_path / name
    if content == "folder":
        place.mkdir()
    elif content is not None:
        place.write_bytes(content)
    with pytest.raises(UserError, match=said) as raised:
        read_film(place, 4, origin="row 7")
    assert name in str(raised.value)
    assert "row 7" in str(raised.value)


def test_a_missing_decoder_is_told_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"needs PyAV to be read: pip install 'mmalign\[video\]'"):
        read_film(tmp_path / "film.mp4", 4)


def test_parts_are_equal_and_cover_the_film():
    assert moments(12.0, 3) == [2.0, 6.0, 10.0]
    assert moments(0.2, 8, fps=1.0) == [0.1]
    assert evenly("abcdefgh", 3) == ["b", "e", "g"]
    assert evenly("ab", 3) == ["a", "b"]


def test_a_picture_without_color_is_a_frame():
    assert read_film((Image.new("L", (8, 8), 7),), 4).frames[0].mode == "RGB"
