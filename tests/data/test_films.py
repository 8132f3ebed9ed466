"""The frames of clips, wherever they are: which there are, when they are shown, and what is told of broken ones."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from mmalign.data.apng import apng, clip_file
from mmalign.data.clips import read_clip
from mmalign.data.films import check, clip_digest, frames_of, is_clip, measure, sampled
from mmalign.errors import UserError
from tests.clips import SHADES, film, folder_of, pictures, shade

NOISE = [Image.fromarray(np.random.default_rng(number).integers(0, 256, (6, 10, 3), dtype=np.uint8)) for number in range(4)]


def png(picture):
    buffer = BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def same(first, second):
    return np.array_equal(np.asarray(first), np.asarray(second))


def test_an_animated_png_gives_every_pixel_back():
    found = [frame.picture() for frame in frames_of(apng(NOISE, 16))]
    assert len(found) == 4
    assert all(map(same, found, NOISE))


def test_equal_frames_of_an_animated_png_stay_several():
    """Pillow's own writer joins them, so that a clip that stands still would be one frame."""
    source = apng([NOISE[0]] * 3 + NOISE[1:2], 16)
    assert measure(source).frames == 4
    assert all(map(same, read_clip(source, 4), [NOISE[0]] * 3 + NOISE[1:2]))


def test_browsers_and_pillow_see_an_animated_png():
    with Image.open(BytesIO(apng(NOISE, 16))) as image:
        assert (image.format, image.n_frames, image.is_animated, image.size) == ("PNG", 4, True, (10, 6))
        assert [image.info["duration"] for number in range(4) if image.seek(number) is None] == [62.5] * 4
        image.seek(0)
        image.verify()


@pytest.mark.parametrize("fps", [8, 16, 24, 30, 23.976])
def test_frames_written_at_a_rate_are_read_one_by_one_at_that_rate(fps):
    frames = pictures(range(0, 250, 2))
    assert [shade(frame) for frame in read_clip(apng(frames, fps), 125, fps)] == list(range(0, 250, 2))


def test_frames_at_half_the_rate_are_every_second_one():
    assert [shade(frame) for frame in read_clip(apng(pictures(), 16), 4, fps=8)] == SHADES[::2]


def test_the_middles_of_equal_parts_are_sampled(tmp_path):
    """Of eight frames in four parts the second of each; of clips with fewer frames than are wanted, all."""
    source = apng(pictures(), 8)
    assert [shade(frame) for frame in sampled(source, 4)] == SHADES[1::2]
    assert [shade(frame) for frame in sampled(source, 99)] == SHADES
    assert [shade(frame) for frame in sampled(folder_of(tmp_path / "clip"), 2)] == [SHADES[2], SHADES[6]]
    assert [shade(frame) for frame in sampled(film(tmp_path / "clip.mp4"), 4)] == pytest.approx(SHADES[1::2], abs=4)


def test_a_clip_is_measured(tmp_path):
    found = measure(apng(pictures(), 8))
    assert (found.frames, found.seconds, found.size) == (8, pytest.approx(1.0), (32, 24))
    found = measure(folder_of(tmp_path / "clip"))
    assert (found.frames, found.seconds, found.size) == (8, None, (32, 24))


def test_a_film_is_measured(tmp_path):
    found = measure(film(tmp_path / "clip.mp4"))
    assert (found.frames, found.seconds, found.size) == (8, pytest.approx(1.0), (32, 24))


def test_what_is_a_clip_and_what_is_a_picture(tmp_path):
    still, moving = png(NOISE[0]), apng(NOISE, 16)
    (tmp_path / "moving.png").write_bytes(moving)
    (tmp_path / "still.png").write_bytes(still)
    folder_of(tmp_path / "clip")
    assert [is_clip(source) for source in (moving, tmp_path / "moving.png", tmp_path / "clip", tmp_path / "none.mp4")] == [True] * 4
    assert [is_clip(source) for source in (still, tmp_path / "still.png", NOISE[0], b"", tmp_path / "none.png")] == [False] * 5


def test_a_film_without_its_name_is_known_by_its_first_bytes(tmp_path):
    assert is_clip(film(tmp_path / "clip.mp4").read_bytes())


def test_broken_clips_are_one_sentence(tmp_path):
    noisy = apng([Image.fromarray(np.random.default_rng(k).integers(0, 256, (64, 64, 3), dtype=np.uint8)) for k in range(3)], 8)
    with pytest.raises(UserError, match=r"^the film a clip \(row 3\) cannot be read \(.*\); replace it, or leave the row out$"):
        check(noisy[:20000], "row 3")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"the folder .*empty \(row 3\) holds no pictures"):
        check(tmp_path / "empty", "row 3")
    with pytest.raises(UserError, match=r"the film .*none.mp4 \(row 3\) cannot be read"):
        check(tmp_path / "none.mp4", "row 3")


def test_a_cut_off_film_is_one_sentence(tmp_path):
    place = film(tmp_path / "clip.mp4")
    place.write_bytes(place.read_bytes()[:600])
    with pytest.raises(UserError, match=r"the film .*clip.mp4 \(row 3\) cannot be read"):
        check(place, "row 3")


def test_a_folder_becomes_one_file_with_its_pixels(tmp_path):
    place = folder_of(tmp_path / "clip")
    content = clip_file(place)
    assert [shade(frame) for frame in read_clip(content, 8)] == SHADES
    assert clip_file(content) == content
    assert clip_digest(place) != clip_digest(content)


def test_frames_of_several_sizes_are_told(tmp_path):
    place = folder_of(tmp_path / "clip")
    Image.new("RGB", (8, 8)).save(place / "999.png")
    with pytest.raises(UserError, match="clip differ in size"):
        clip_file(place)
