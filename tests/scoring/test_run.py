"""Scoring as a whole: the table on disk and on the screen, rows with errors, and what is refused."""

import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from mmalign.errors import UserError


def rows(path):
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open(newline="") as file:
        return [{key: value or None for key, value in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_the_table_has_a_row_per_image_with_every_reward(score, folder, tmp_path, captions, expected, kind):
    out = tmp_path / f"scores.{kind}"
    rewards = ["colorfulness", "oracle", {"name": "taste", "user": "bold", "label": "bold"}]
    shown = score(folder, rewards=rewards, out=str(out))
    table = rows(out)
    assert list(table[0]) == ["index", "image", "prompt", "colorfulness", "oracle", "bold", "error"]
    assert [int(row["index"]) for row in table] == list(range(12))
    assert [row["image"] for row in table] == [str(folder / f"{number}.png") for number in range(12)]
    assert [row["prompt"] for row in table] == captions
    np.testing.assert_allclose([float(row["colorfulness"]) for row in table], expected, rtol=1e-5)
    assert {float(row["oracle"]) for row in table} == {5.0}  # each picture is what its caption says
    assert {row["error"] for row in table} == {None}
    assert shown.endswith(str(out))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures", out.name]


def test_parquet_says_what_the_scores_are(score, folder, tmp_path):
    score(folder, out=str(tmp_path / "s.parquet"))
    schema = pq.read_schema(tmp_path / "s.parquet")
    facts = json.loads(schema.metadata[b"mmalign.rewards"])
    assert facts["colorfulness"]["unit"] == "colorfulness M3"
    assert facts["colorfulness"]["range"] == [0.0, 300.0]
    assert str(schema.field("colorfulness").type) == "float"


def test_text_holds_the_digits_of_float32_and_prompts_of_several_lines(score, folder, tmp_path):
    prompt = 'one, "two"\nthree; \ud800'
    for kind in ("parquet", "csv", "jsonl"):
        score(folder, prompt=prompt, out=str(tmp_path / f"s.{kind}"))
    exact = [np.float32(row["colorfulness"]) for row in rows(tmp_path / "s.parquet")]
    for kind in ("csv", "jsonl"):
        table = rows(tmp_path / f"s.{kind}")
        assert [np.float32(row["colorfulness"]) for row in table] == exact
        assert max(len(str(row["colorfulness"])) for row in table) <= 10
        assert table[0]["prompt"] == 'one, "two"\nthree; ?'


def test_an_image_that_cannot_be_read_is_a_row(score, folder, tmp_path, expected):
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:200])
    (folder / "8.png").write_text("no image")
    (folder / "9.txt").unlink()
    shown = score(folder, rewards=["colorfulness", "oracle"], out=str(tmp_path / "s.jsonl"))
    table = rows(tmp_path / "s.jsonl")
    bad = {row["index"]: row["error"] for row in table if row["error"]}
    assert list(bad) == [3, 8, 9]
    assert bad[8] == f"{folder / '8.png'} cannot be read as an image (unknown format)"
    assert bad[9] == f"{folder / '9.png'} has no prompt: there is no 9.txt beside it"
    assert [row["index"] for row in table if row["colorfulness"] is None] == [3, 8]
    assert [row["index"] for row in table if row["oracle"] is None] == [3, 8, 9]
    assert table[9]["colorfulness"] == pytest.approx(expected[9], rel=1e-5)
    assert "errors in 3 of 12 rows:" in shown


def test_the_screen_sums_up_and_shows_the_rows(score, folder, expected):
    shown = score(folder, rewards=["colorfulness"])
    (line,) = [line for line in shown.splitlines() if line.startswith("colorfulness")]
    numbers = [np.mean(expected), np.std(expected, ddof=1), min(expected), np.median(expected), max(expected)]
    assert line.split()[1:7] == ["12", *(f"{number:.4g}" for number in numbers)]
    assert line.endswith("colorfulness M3")
    assert shown.startswith("12 image files, prompts from text files beside them\n")
    assert f"{expected[7]:.4g}" in shown  # all rows, as they are written nowhere
    assert f"{expected[7]:.4g}" not in score(folder / "*.png", rewards=["colorfulness"], limit=7)


def test_nothing_scored_is_a_mistake_that_leaves_nothing(score, folder, tmp_path):
    for file in folder.glob("*.png"):
        file.write_text("no image")
    for _ in range(2):
        with pytest.raises(UserError, match=r"none of the 12 images could be scored, the first because: .*0\.png cannot be read"):
            score(folder, out=str(tmp_path / "s.csv"))
        assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


def test_a_reward_that_needs_prompts_is_refused_before_it_is_built(score, folder, monkeypatch):
    monkeypatch.setattr("mmalign.rewards.oracle.Oracle.__init__", lambda self: pytest.fail("it was built"))
    with pytest.raises(UserError, match="oracle needs prompts and the images have none; give --prompt TEXT"):
        score(folder, rewards=["oracle"], captions="none")


def test_a_finished_output_stays_unless_it_may_be_overwritten(score, folder, tmp_path):
    out = tmp_path / "s.csv"
    score(folder, out=str(out))
    before = out.read_bytes()
    with pytest.raises(UserError, match=r"s\.csv is there already; give another --out, or --overwrite"):
        score(folder, out=str(out), limit=3)
    assert out.read_bytes() == before
    score(folder, out=str(out), limit=3, overwrite=True)
    assert len(rows(out)) == 3


def test_a_vote_sees_all_images_of_a_prompt_though_they_lie_apart(score, folder, tmp_path, expected):
    prompts = [f"prompt {number % 3}" for number in range(12)]
    (tmp_path / "prompts.txt").write_text("\n".join(prompts))
    vote = {"name": "rank_vote", "rewards": ["colorfulness"], "label": "vote"}
    out = tmp_path / "s.jsonl"
    score(folder, rewards=[vote, "colorfulness"], prompts_file=str(tmp_path / "prompts.txt"), out=str(out), chunk_size=3)
    table = rows(out)
    assert [row["index"] for row in table] == list(range(12))
    for number, row in enumerate(table):
        rivals = [expected[other] for other in range(12) if other % 3 == number % 3 and other != number]
        assert row["vote"] == pytest.approx(sum(expected[number] > rival for rival in rivals) / 3, abs=1e-6)


def test_a_sum_of_rewards_that_need_no_prompt_needs_none(score, folder, expected):
    both = {"name": "weighted_sum", "rewards": [{"name": "colorfulness", "weight": 2}], "label": "twice"}
    assert f"{2 * expected[0]:.4g}" in score(folder, rewards=[both], captions="none")
    with pytest.raises(UserError, match="sum needs prompts and the images have none"):
        score(folder, rewards=[{"name": "weighted_sum", "rewards": ["oracle"], "label": "sum"}], captions="none")
