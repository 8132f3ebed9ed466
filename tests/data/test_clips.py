"""Clips as candidates: which frames are taken, and what is told where there are too few."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from mmalign.data.clips import clip_size, read_clip, transform_clips
from mmalign.data.films import clip_digest
from mmalign.data.schema import Example
from mmalign.errors import UserError
from tests.clips import SHADES, film, folder_of, shade


@pytest.fixture
def folder(tmp_path):
    place = folder_of(tmp_path / "clip")
    (place / "notes.txt").write_text("no frame")
    return place


def test_frames_of_a_folder_are_its_first_in_the_order_of_their_names(folder):
    assert [shade(frame) for frame in read_clip(folder, 5)] == SHADES[:5]
    assert clip_size(folder) == (24, 32)


def test_frames_of_a_film_are_its_first_and_none_is_left_out(tmp_path):
    place = film(tmp_path / "clip.mp4")
    assert [shade(frame) for frame in read_clip(place, 5)] == pytest.approx(SHADES[:5], abs=4)
    assert [shade(frame) for frame in read_clip(place.read_bytes(), 5)] == pytest.approx(SHADES[:5], abs=4)
    assert clip_size(place) == (24, 32)


def test_frames_at_a_rate_are_those_on_the_screen_at_its_moments(tmp_path):
    """A film of 8 frames a second, at 4: every second one; at 16: every one twice."""
    place = film(tmp_path / "clip.mp4")
    assert [shade(frame) for frame in read_clip(place, 4, fps=4)] == pytest.approx(SHADES[::2], abs=4)
    twice = [value for value in SHADES[:3] for _ in range(2)]
    assert [shade(frame) for frame in read_clip(place, 6, fps=16)] == pytest.approx(twice, abs=4)


def test_pixels_of_clips_are_cut_alike_and_stand_in_order(folder):
    example = Example("a prompt", (folder, folder))
    pixels, geometries = transform_clips(example, (16, 16), 3)
    assert pixels.shape == (2, 3, 3, 16, 16)
    expected = torch.tensor(SHADES[:3]) / 127.5 - 1
    torch.testing.assert_close(pixels.mean(dim=(0, 1, 3, 4)), expected, atol=1e-5, rtol=0)
    assert [geometry.original_size for geometry in geometries] == [(24, 32)] * 2


def test_a_mirrored_clip_is_mirrored_in_every_frame(tmp_path):
    place = tmp_path / "clip"
    place.mkdir()
    for index in range(2):
        picture = np.zeros((16, 16, 3), dtype=np.uint8)
        picture[:, index] = 255
        Image.fromarray(picture).save(place / f"{index}.png")
    pixels, _ = transform_clips(Example("", (place,)), (16, 16), 2, flip=True)
    assert [int(pixels[0, 0, frame, 0].argmax()) for frame in range(2)] == [15, 14]


def test_too_few_frames_are_told_with_the_place(folder):
    with pytest.raises(UserError, match=r"clip \(row 3\) has 8 frames, but 9 are trained on; set data.frames to fewer"):
        read_clip(folder, 9, origin="row 3")


def test_what_is_no_film_is_told(tmp_path):
    pytest.importorskip("av")
    place = tmp_path / "clip.mp4"
    place.write_bytes(b"no film")
    with pytest.raises(UserError, match=r"clip.mp4 \(row 3\) cannot be read"):
        read_clip(place, 2, origin="row 3")


def test_without_pyav_a_film_asks_for_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    (tmp_path / "clip.mp4").write_bytes(b"a film")
    with pytest.raises(UserError, match=r"mmalign\[video\]"):
        read_clip(tmp_path / "clip.mp4", 2)


def test_a_digest_follows_the_frames(folder, tmp_path):
    before = clip_digest(folder)
    buffer = BytesIO()
    Image.new("RGB", (32, 24), (1, 1, 1)).save(buffer, format="PNG")
    (folder / "000.png").write_bytes(buffer.getvalue())
    assert clip_digest(folder) != before
