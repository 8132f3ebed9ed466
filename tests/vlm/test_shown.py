"""Films as a model takes them, or as several pictures in their place."""

import numpy as np
import pytest

from mmalign.errors import UserError
from mmalign.vlm.films import Film
from mmalign.vlm.shown import FilmReader, Shown, spread
from tests.vlm.models import build, picture


def film(seed: int, frames: int) -> Film:
    return Film(tuple(picture(100 * seed + i) for i in range(frames)), tuple(map(float, range(frames))), float(frames))


def kinds(turns):
    return [part["type"] for turn in turns for part in turn["content"]]


def test_frames_stand_as_pictures_in_the_films_place():
    image, other, films = picture(1), picture(2), [film(3, 2), film(4, 3)]
    places = ["video", "image", "text", "video", "image"]
    turns = [{"role": "user", "content": [{"type": kind, **({"text": "?"} if kind == "text" else {})} for kind in places]}]
    changed, seen = spread(turns, [image, other], films)
    assert kinds(changed) == ["image"] * 3 + ["text"] + ["image"] * 4
    assert list(seen) == [*films[0].frames, image, *films[1].frames, other]
    assert kinds(turns) == places


def test_pictures_of_a_list_are_given_as_the_model_takes_films():
    turns = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "?"}]}]
    frames = tuple(picture(seed) for seed in range(4))
    whole, parts = FilmReader(2)(turns, [], [frames]), FilmReader(2, as_pictures=True)(turns, [], [frames])
    for taken, place in zip(whole.given["videos"][0], (1, 3), strict=True):
        assert np.array_equal(np.asarray(taken), np.asarray(frames[place]))
    assert whole.given["video_metadata"][0]["frames_indices"] == [500, 1500]
    assert kinds(whole.turns) == ["video", "text"]
    assert kinds(parts.turns) == ["image", "image", "text"]
    assert parts.given == {}
    assert len(parts.images) == 2


def test_all_that_is_seen_is_changed_and_measured():
    shown = Shown([], (picture(0, 30, 50),), (film(1, 2),))
    assert shown.smallest == 30
    halved = shown.changed(lambda image: image.resize((image.width // 2, image.height // 2)))
    assert [image.size for image in (*halved.images, *halved.films[0].frames)] == [(25, 15), (30, 20), (30, 20)]
    assert halved.films[0].times == shown.films[0].times
    assert Shown([], ()).smallest == 0


def test_a_family_says_how_it_takes_films():
    qwen, llava = (build(name).policy.family for name in ("qwen2_vl", "llava"))
    qwen.processor.video_processor.max_frames = 6
    assert qwen.films(count=8) == FilmReader(6, None, as_pictures=False)
    assert qwen.films(count=8, as_pictures=True) == FilmReader(8, None, as_pictures=True)
    assert llava.films(count=4, fps=1.0) == FilmReader(4, 1.0, as_pictures=True)
    with pytest.raises(UserError, match="takes no films"):
        llava.films(as_pictures=False)
