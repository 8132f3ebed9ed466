"""Folders with w/ and l/."""

import json

import pytest

from mmalign.data import load
from mmalign.errors import UserError
from tests.data.conftest import LOSER, WINNER


@pytest.fixture
def folder(tmp_path, png):
    """Two pairs, one a level deeper and with other suffixes, without prompts."""
    for side, value in (("w", WINNER), ("l", LOSER)):
        (tmp_path / side / "deep").mkdir(parents=True)
        (tmp_path / side / "a.png").write_bytes(png(0, value))
        (tmp_path / side / "deep" / f"b.{'png' if side == 'w' else 'TIFF'}").write_bytes(png(1, value))
    return tmp_path


@pytest.mark.parametrize("place", ["{}.txt", "w/{}.txt", "l/{}.txt", "w/{}.caption"])
def test_captions_lie_in_any_of_the_usual_places(folder, place, in_order):
    for pair, name in enumerate(("a", "deep/b")):
        path = folder / place.format(name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"  prompt {pair}\n")
    in_order(load("folder", folder), 2)
    in_order(load("auto", str(folder)), 2)


@pytest.mark.parametrize("key", ["prompt", "caption", "text"])
@pytest.mark.parametrize("name", ["{}", "{}.png", "w/{}.png", "l/{}.jpg"])
def test_prompts_come_from_metadata(folder, key, name, in_order):
    lines = [json.dumps({"file_name": name.format(stem), key: f"prompt {i}"}) for i, stem in enumerate(("a", "deep/b"))]
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    in_order(load("auto", folder), 2)


def test_a_pair_without_a_prompt_is_named(folder):
    (folder / "w" / "a.txt").write_text("prompt 0")
    with pytest.raises(UserError, match=r"the pair 'deep/b' in .* has no prompt; write it to .*w/deep/b.txt"):
        load("auto", folder)


def test_two_prompts_for_one_pair_are_named(folder):
    (folder / "w" / "a.txt").write_text("one")
    (folder / "l" / "a.txt").write_text("another")
    with pytest.raises(UserError, match=r"w/a.txt and .*l/a.txt differ"):
        load("auto", folder)


@pytest.mark.parametrize(("side", "other"), [("w", "l"), ("l", "w")])
def test_an_image_without_its_counterpart_is_named(folder, side, other):
    (folder / side / "a.png").unlink()
    with pytest.raises(UserError, match=rf"{other}/a.png has no counterpart named a in .*{side}; add it, or remove the image"):
        load("auto", folder)


def test_a_near_name_is_suggested(folder):
    (folder / "l" / "a.png").rename(folder / "l" / "aa.png")
    with pytest.raises(UserError, match=r"w/a.png has no counterpart named a in .*; did you mean 'aa'\?"):
        load("auto", folder)


def test_a_missing_side_is_named(tmp_path):
    (tmp_path / "w").mkdir()
    with pytest.raises(UserError, match="has no folder l/"):
        load("auto", tmp_path)
    (tmp_path / "l").mkdir()
    with pytest.raises(UserError, match="is empty"):
        load("auto", tmp_path)


def test_one_name_twice_is_named(folder):
    (folder / "w" / "a.jpg").touch()
    with pytest.raises(UserError, match=r"w/a.jpg and .*w/a.png have the same name"):
        load("auto", folder)


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"file_name": "a"}', '{"file_name": 3, "prompt": "a"}'])
def test_a_bad_line_of_metadata_is_named(folder, line):
    (folder / "metadata.jsonl").write_text(line)
    with pytest.raises(UserError, match="metadata.jsonl, line 1 needs the keys file_name and prompt"):
        load("auto", folder)


def test_metadata_that_contradicts_itself_is_named(folder):
    lines = ['{"file_name": "w/a.png", "prompt": "one"}', '{"file_name": "l/a.png", "prompt": "two"}']
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    with pytest.raises(UserError, match="line 2, gives 'a' a second, different prompt"):
        load("auto", folder)


def test_films_make_pairs_too(tmp_path):
    for side in "wl":
        (tmp_path / side).mkdir()
        (tmp_path / side / "fox.mp4").write_bytes(side.encode())
    (tmp_path / "fox.txt").write_text("a fox")
    [example] = load("auto", tmp_path)
    assert (example.prompt, example.images) == ("a fox", (tmp_path / "w" / "fox.mp4", tmp_path / "l" / "fox.mp4"))
