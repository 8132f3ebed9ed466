"""Webdataset shards: which file becomes which column, and what is read when."""

import json
import pickle
import tarfile
from io import BytesIO

import pytest

from mmalign.data import load
from mmalign.data.shards import ShardsTable
from mmalign.errors import UserError
from tests.data.conftest import LOSER, WINNER


@pytest.fixture
def shard(tmp_path):
    """shard([(key, {extension: content}), ...]): a tar file of these samples."""

    def write(samples, name="a.tar", mode="w"):
        with tarfile.open(tmp_path / name, mode) as tar:
            for key, files in samples:
                for extension, content in files.items():
                    content = content if isinstance(content, bytes) else json.dumps(content).encode()
                    member = tarfile.TarInfo(f"{key}.{extension}")
                    member.size = len(content)
                    tar.addfile(member, BytesIO(content))
        return tmp_path / name

    return write


def test_pick_a_pics_columns_may_lie_in_the_json(shard, png, seen):
    labels = [1.0, 0.0, 0.5, 1.0]
    samples = [
        (f"{i:03d}", {"jpg_0.png": png(i, 1), "jpg_1.png": png(i, 2), "json": {"caption": f"p{i}", "label_0": x, "label_1": 1 - x}})
        for i, x in enumerate(labels)
    ]
    examples = load("auto", shard(samples))
    assert type(examples.reader).__name__ == "PickAPic"
    assert [(e.prompt, seen(e)) for e in examples] == [
        ("p0", [(0, 1), (0, 2)]),
        ("p1", [(1, 2), (1, 1)]),
        ("p3", [(3, 1), (3, 2)]),
    ]
    assert examples.dropped["tie"] == 1


def test_labels_may_be_files_of_numbers(shard, png, seen):
    files = {"txt": b"a fox\n", "jpg_0.png": png(0, 1), "jpg_1.png": png(0, 2), "label_0.cls": b"0", "label_1.cls": b"1"}
    [example] = load("auto", shard([("x", files)]))
    assert (example.prompt, seen(example)) == ("a fox", [(0, 2), (0, 1)])


def test_numbered_images_are_a_list_in_the_order_of_their_numbers(shard, png, seen):
    order = [10, 2, 0, 1]
    files = {f"{k}.png": png(0, k) for k in order} | {"json": {"prompt": "a", "scores": [3, 1, 4, 2]}}
    [example] = load("auto", shard([("x", files)]))
    assert seen(example) == [(0, 2), (0, 0), (0, 10), (0, 1)]
    assert example.scores == (4, 3, 2, 1)


def test_what_the_json_says_comes_first(shard, png):
    files = {"chosen.png": png(0, WINNER), "rejected.png": png(0, LOSER), "txt": b"a file", "json": {"prompt": "the object"}}
    assert load("auto", shard([("x", files)]))[0].prompt == "the object"


def test_a_column_of_text_reads_no_image(shard, png, monkeypatch):
    samples = [(str(i), {"chosen.png": png(i, 1), "rejected.png": png(i, 2), "json": {"prompt": f"p{i}"}}) for i in range(5)]
    path = shard(samples)
    table = ShardsTable([path], "shards")
    read = []
    monkeypatch.setattr("mmalign.data.shards.read_slice", lambda shard, file: read.append(file.extension) or b'{"prompt": "x"}')
    assert table.column("prompt") == ["x"] * 5
    assert set(read) == {"json"}


def test_rows_travel_and_come_in_any_order(shard, png, seen):
    samples = [(str(i), {"chosen.png": png(i, WINNER), "rejected.png": png(i, LOSER), "txt": b"a"}) for i in range(6)]
    examples = pickle.loads(pickle.dumps(load("auto", shard(samples))))  # noqa: S301, it was pickled in the line itself
    assert [seen(examples[i])[0] for i in (5, 0, 3)] == [(5, WINNER), (0, WINNER), (3, WINNER)]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"json": b"{"}, r"a.tar, sample '1': its .json cannot be read"),
        ({"json": [1]}, r"a.tar, sample '1': its .json is no object"),
        ({"txt": b"\xff"}, r"a.tar, sample '1': its .txt cannot be read"),
        ({"txt": b"a", "rejected.png": b"x"}, r"a.tar, sample '1': column 'chosen' holds nothing instead of an image"),
    ],
)
def test_a_broken_sample_is_named(shard, png, files, said):
    whole = {"chosen.png": png(0, WINNER), "rejected.png": png(0, LOSER)}
    path = shard([("0", whole | {"txt": b"a"}), ("1", (whole if "rejected.png" not in files else {}) | files)])
    with pytest.raises(UserError, match=said):
        list(load("prompt_chosen_rejected", path))


def test_what_is_no_shard_is_a_sentence(shard, tmp_path):
    with pytest.raises(UserError, match=r"b.tar cannot be read as a tar file .*; unpack it where it is compressed"):
        load("auto", shard([("0", {"txt": b"a"})], "b.tar", "w:gz"))
    with pytest.raises(UserError, match="is empty"):
        load("auto", shard([], "c.tar"))


def test_films_are_candidates_too(shard):
    place = shard([("0", {"txt": b"a fox", "chosen.mp4": b"first", "rejected.webm": b"second"})])
    [example] = load("auto", place)
    assert (example.prompt, example.images) == ("a fox", (b"first", b"second"))
