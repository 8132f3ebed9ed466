"""The files of HPDv2, ImageReward and Pick-a-Pic as they are downloaded: which image is preferred, and where images lie."""

import json

import pytest

from mmalign.data import load
from mmalign.errors import UserError


def write(path, rows):
    path.write_text(json.dumps(rows))
    return path


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def names(example):
    return [source.name for source in example.images]


TEST_ROW = {
    "prompt": "a cat",
    "image_path": ["a.jpg", "b.jpg", "c.jpg"],
    "rank": [2, 0, 1],
    "raw_annotations": [{"rank": [2, 1, 0], "user_hash": "x"}],
}


def test_hpdv2_sorts_by_the_averaged_rank_and_finds_the_images_in_test(tmp_path):
    touch(tmp_path / "test", "a.jpg", "b.jpg", "c.jpg")
    [example] = load("auto", write(tmp_path / "test.json", [TEST_ROW]))
    assert example.prompt == "a cat"
    assert example.images == tuple(tmp_path / "test" / name for name in ("b.jpg", "c.jpg", "a.jpg"))
    assert example.scores == (0, -1, -2)


def test_hpdv2_reads_the_ranks_of_each_annotator(tmp_path):
    touch(tmp_path / "test", "a.jpg", "b.jpg", "c.jpg")
    said = [{"rank": [3, 1, 2], "user_hash": "x"}, {"rank": [1, 2, 3], "user_hash": "y"}, {"rank": [1, 1, 1], "user_hash": "z"}]
    path = write(tmp_path / "test.json", [{**TEST_ROW, "raw_annotations": said}, TEST_ROW])
    examples = load("hpdv2", path, each_annotator=True, ties="soft")
    assert [(e.user_id, names(e), e.preference) for e in examples] == [
        ("x", ["b.jpg", "c.jpg", "a.jpg"], 1.0),
        ("y", ["a.jpg", "b.jpg", "c.jpg"], 1.0),
        ("z", ["a.jpg", "b.jpg", "c.jpg"], 0.5),
        ("x", ["c.jpg", "b.jpg", "a.jpg"], 1.0),
    ]
    assert examples[1].scores == (-1, -2, -3)
    assert examples[1].origin == f"{path}, row 0, judgment 1"
    assert load("hpdv2", path, each_annotator=True).dropped == {"tie": 1}
    assert load("auto", path)[0].user_id is None


def test_annotations_that_are_no_records_are_a_sentence(tmp_path):
    path = write(tmp_path / "test.json", [{**TEST_ROW, "raw_annotations": [[1, 2, 3]]}])
    with pytest.raises(UserError, match="row 0: column 'raw_annotations' holds no list of records; correct the row or leave it out"):
        load("hpdv2", path, each_annotator=True)


def test_images_may_lie_beside_the_file_or_in_a_folder_that_is_said(tmp_path):
    path = write(tmp_path / "test.json", [TEST_ROW])
    touch(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    assert load("auto", path)[0].images[0] == tmp_path / "b.jpg"
    elsewhere = touch(tmp_path / "elsewhere", "a.jpg", "b.jpg", "c.jpg")
    assert load("auto", path, image_folder="elsewhere")[0].images[0] == elsewhere / "b.jpg"
    assert load("auto", path, image_folder=str(elsewhere))[0].images[0] == elsewhere / "b.jpg"


def test_a_wrong_image_folder_is_a_sentence(tmp_path):
    path = write(tmp_path / "test.json", [TEST_ROW])
    with pytest.raises(UserError) as caught:
        load("hpdv2", path, image_folder="images")
    assert str(caught.value) == (
        f"{path}, row 0: the image {tmp_path / 'images' / 'b.jpg'} does not exist; "
        "paths start from the folder of the data file, or from the reader's image_folder in it"
    )


def test_hpdv2_train_prefers_the_image_with_a_one(tmp_path):
    touch(tmp_path / "train", "a.jpg", "b.jpg")
    row = {"prompt": "a cat", "file_path": ["a.jpg", "b.jpg"], "human_preference": [0, 1], "user_hash": "u"}
    tie = {**row, "human_preference": [0, 0]}
    examples = load("auto", write(tmp_path / "train.json", [row, tie]), ties="soft")
    assert [names(example) for example in examples] == [["b.jpg", "a.jpg"], ["a.jpg", "b.jpg"]]
    assert [example.preference for example in examples] == [1.0, 0.5]
    assert examples[0].user_id == "u"


def test_hpdv3_prefers_the_first_path(tmp_path):
    touch(tmp_path / "images", "a.jpg", "b.jpg")
    row = {"prompt": "a", "path1": "images/a.jpg", "path2": "images/b.jpg", "confidence": 0.97, "choice_dist": [9, 1]}
    examples = load("auto", write(tmp_path / "test.json", [row]))
    assert type(examples.reader).__name__ == "HPDv3"
    assert names(examples[0]) == ["a.jpg", "b.jpg"]


def test_image_rewards_test_file_ranks_from_one_with_ties(tmp_path):
    touch(tmp_path / "test_images" / "part", "a.webp", "b.webp", "c.webp")
    row = {"id": "005658-0040", "prompt": "a", "generations": ["part/a.webp", "part/b.webp", "part/c.webp"], "ranking": [2, 1, 2]}
    [example] = load("auto", write(tmp_path / "test.json", [row]))
    assert names(example) == ["b.webp", "a.webp", "c.webp"]
    assert example.scores == (-1, -2, -2)
    assert example.ranking_id == "005658-0040"


def metadata(*rows):
    """Rows of ImageRewardDB's metadata from (prompt_id, name, rank)."""
    return [
        {
            "image_path": f"images/test/test_1/{name}.webp",
            "prompt_id": key,
            "prompt": f"prompt {key}",
            "classification": "Animals",
            "image_amount_in_total": 2,
            "rank": rank,
            "overall_rating": 8 - rank,
        }
        for key, name, rank in rows
    ]


def test_image_reward_db_joins_the_rows_of_a_prompt(tmp_path, parquet):
    touch(tmp_path / "images/test/test_1", *(f"{name}.webp" for name in "abcde"))
    path = parquet(metadata(("p", "a", 2), ("q", "b", 1), ("p", "c", 1), ("q", "d", 1), ("p", "e", 3)), "metadata-test.parquet")
    examples = load("auto", path, ties="soft")
    assert [names(example) for example in examples] == [["c.webp", "a.webp", "e.webp"], ["b.webp", "d.webp"]]
    assert [(e.prompt, e.ranking_id, e.scores, e.preference) for e in examples] == [
        ("prompt p", "p", (-1, -2, -3), 1.0),
        ("prompt q", "q", (-1, -1), 0.5),
    ]
    assert examples[0].origin == f"{path}, row 0"
    rated = load("auto", path, rank="overall_rating", lower_is_better=False, ties="soft")
    assert rated[0].scores == (7, 6, 5)
    assert names(rated[0]) == ["c.webp", "a.webp", "e.webp"]


def test_image_reward_db_refuses_two_prompts_under_one_id(parquet):
    rows = metadata(("p", "a", 1), ("p", "b", 2))
    rows[1]["prompt"] = "another"
    path = parquet(rows, "metadata-test.parquet")
    with pytest.raises(UserError, match=r"row 1 has another 'prompt' than .*row 0, of the same group; correct one of them, or its key"):
        load("auto", path)


def test_a_near_miss_in_a_published_file_is_named(tmp_path):
    row = {"prompt": "a", "image_path": ["a.jpg"], "ranks": [1]}
    with pytest.raises(UserError, match=r"has no column 'rank' \(did you mean 'ranks'\?\).*rename the column, or say rank='ranks'"):
        load("hpdv2", write(tmp_path / "test.json", [row]))


def test_missing_ranks_are_counted_in_a_sentence(tmp_path):
    row = {**TEST_ROW, "rank": [1, 2]}
    with pytest.raises(UserError, match=r"row 0: 3 images but 2 scores in 'rank'; give one score for each image"):
        load("hpdv2", write(tmp_path / "test.json", [row]))


def test_pick_a_pics_files_are_told_apart_by_split_even_with_a_hash_in_their_names(pick_rows, parquet):
    for split, label in (("test_unique", 1.0), ("validation_unique", 0.0)):
        folder = parquet(pick_rows([label]), f"data/{split}-00000-of-00001-ecef20a3469ae6e6.parquet").parent
    assert load("auto", folder, split="test_unique")[0].prompt == "prompt 0"
    with pytest.raises(UserError, match="has no split 'test'; did you mean 'test_unique'"):
        load("auto", folder, split="test")


def test_fields_choose_between_readers_of_the_same_columns():
    rows = [{"prompt": "a", "image_path": [b"1", b"2"], "rank": [1, 2]}]
    for fields in ({}, {"rank": "rank"}):
        assert type(load("auto", rows, **fields).reader).__name__ == "HPDv2"
    [example] = load("auto", rows, images="image_path", scores="rank")
    assert example.scores == (2, 1)  # by name of the fields, a list of scores that is better the higher


def test_columns_are_there_beside_the_examples(pick_rows):
    rows = [{**row, "model_0": f"m{i}"} for i, row in enumerate(pick_rows([1.0, 0.5, 0.0]))]
    examples = load("auto", rows)
    assert examples.column("model_0") == ["m0", "m2"]  # the tie is left out
    with pytest.raises(UserError, match=r"the list has no column 'modle_0'; did you mean 'model_0'\?"):
        examples.column("modle_0")


HPDV3 = [
    {"prompt": "a", "path1": "a.jpg", "path2": "b.jpg", "confidence": 0.97},
    {"prompt": "b", "path1": "a.jpg", "path2": "b.jpg", "confidence": 0.6},
    {"prompt": "c", "path1": "a.jpg", "path2": "b.jpg", "confidence": None},
    {"prompt": "d", "path1": "a.jpg", "path2": "b.jpg", "confidence": 0.3},
]


def test_hpdv3_reads_the_confidence_where_it_is_asked_for(tmp_path):
    touch(tmp_path, "a.jpg", "b.jpg")
    path = write(tmp_path / "train.json", HPDV3)
    sure = load("auto", path, min_confidence=0.95)
    assert [example.prompt for example in sure] == ["a"]
    assert dict(sure.dropped) == {"confidence below 0.95": 2, "no confidence": 1}
    soft = load("hpdv3", path, soft_confidence=True, ties="soft")
    # the first path is preferred whatever the confidence
    assert [(names(e), e.preference) for e in soft] == [(["a.jpg", "b.jpg"], p) for p in (0.97, 0.6, 1.0, 0.5)]
    assert [example.preference for example in load("hpdv3", path)] == [1.0] * 4


def test_pick_a_pic_without_images_is_told_as_such():
    row = {"caption": "a", "image_0_url": "https://x", "image_1_url": "https://y", "label_0": 1, "label_1": 0}
    with pytest.raises(
        UserError, match="has no column 'jpg_0', 'jpg_1'; .*; this is the variant without images, .* take the one with images"
    ):
        load("auto", [row])


def test_hpdv3_refuses_a_confidence_that_is_no_share(tmp_path):
    with pytest.raises(UserError, match=r"row 0: the confidence is 97; give 0 to 1"):
        load("hpdv3", [{**HPDV3[0], "confidence": 97}], soft_confidence=True)


def test_the_first_label_alone_is_enough_on_request(tmp_path):
    rows = [{"caption": f"p{i}", "jpg_0": b"l", "jpg_1": b"r", "label_0": label} for i, label in enumerate((1, 0, 0.5, 0.8))]
    with pytest.raises(UserError, match="has no column 'label_1'"):
        load("auto", rows)
    examples = load("pickapic", rows, label_1=None)
    assert [(e.images[0], e.preference) for e in examples] == [(b"l", 1), (b"r", 1), (b"l", 0.8)]
    assert examples.dropped["tie"] == 1


def test_columns_go_by_other_known_names():
    rows = [{"prompt": "a", "img_win": b"w", "img_lose": b"l", "win_score": 3, "lose_score": 1}]
    examples = load("auto", rows)
    assert (type(examples.reader).__name__, examples[0].images, examples[0].scores) == ("PromptChosenRejected", (b"w", b"l"), (3, 1))
    [ranked] = load("auto", [{"caption": "a", "images": [b"0", b"1", b"2"], "ranks": [2, 1, 3]}])
    assert (ranked.images, ranked.scores) == ((b"1", b"0", b"2"), (-1, -2, -3))
    [scored] = load("auto", [{"prompt": "a", "images": [b"0", b"1"], "scores": [1, 2], "ranks": [1, 2]}])
    assert scored.images == (b"1", b"0")  # scores come first where both are there


def test_a_usual_name_comes_before_another_known_one():
    row = {"caption": "c", "prompt": "p", "jpg_0": b"l", "jpg_1": b"r", "label_0": 1, "label_1": 0}
    assert load("auto", [row])[0].prompt == "c"
    assert load("auto", [row], caption="prompt")[0].prompt == "p"


def test_image_reward_db_as_datasets_makes_it_has_the_pictures_themselves():
    rows = [
        {"image": {"bytes": name, "path": None}, "prompt_id": "p", "prompt": "a", "rank": rank} for name, rank in ((b"x", 2), (b"y", 1))
    ]
    examples = load("auto", rows)
    assert (type(examples.reader).__name__, examples[0].images) == ("ImageRewardDB", (b"y", b"x"))


def test_pick_a_pics_files_have_all_the_columns_of_their_card(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    labels = [1.0, 0.0, 0.5, 1.0]
    texts = ("best_image_uid", "image_0_uid", "image_0_url", "image_1_uid", "image_1_url", "model_0", "model_1")
    numbers = ("ranking_id", "user_id", "num_example_per_prompt", "__index_level_0__")
    columns = {
        "are_different": pa.array([True] * 4),
        "has_label": pa.array([True, True, True, False]),
        "caption": pa.array([f"prompt {i}" for i in range(4)]),
        "created_at": pa.array([1_680_000_000_123_456_789] * 4, pa.timestamp("ns")),
        "jpg_0": pa.array([b"left"] * 4),
        "jpg_1": pa.array([b"right"] * 4),
        "label_0": pa.array(labels),
        "label_1": pa.array([1 - label for label in labels]),
    }
    columns |= {name: pa.array(["x"] * 4) for name in texts} | {name: pa.array([3, 4, 5, 6], pa.int64()) for name in numbers}
    pq.write_table(pa.table(columns), tmp_path / "train-00000-of-00645-b66ac786bf6fb553.parquet")
    examples = load("auto", tmp_path, ties="half")
    found = [(example.prompt, example.images[0], example.user_id, example.weight) for example in examples]
    assert found == [
        ("prompt 0", b"left", "3", 1.0),
        ("prompt 1", b"right", "4", 1.0),
        ("prompt 2", b"left", "5", 0.5),
        ("prompt 2", b"right", "5", 0.5),
    ]
