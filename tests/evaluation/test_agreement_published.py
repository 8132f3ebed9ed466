"""The published numbers: their counting on files of the same structure, and which of them stand beside which of ours."""

import json

import pytest

from mmalign.evaluation.agreement.accuracy import Accuracy
from mmalign.evaluation.agreement.judging import judge, judgments, load_rankings
from mmalign.evaluation.agreement.published import KNOWN_SETS, PUBLISHED, mismatch, of_scorer, on, recognized
from mmalign.evaluation.agreement.published_benchmark import VERSION_2_0, VERSION_2_1, published_rows
from mmalign.evaluation.agreement.result import Agreement
from mmalign.evaluation.agreement.words import beside, elsewhere, rule
from mmalign.evaluation.statistics import Interval

IMAGE_REWARD_SIZES = {4: 194, 5: 2, 6: 45, 7: 159, 8: 43, 9: 23}
"""Images per prompt in ImageReward's test.json, and for how many prompts."""


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """counted(rows, **options): what the judgments in a JSON file are; its images are not looked for."""
    monkeypatch.setattr("mmalign.data.examples.exists", lambda path: True)

    def count(rows, dataset=None):
        path = tmp_path / "test.json"
        path.write_text(json.dumps(rows))
        found = load_rankings(str(path), "auto", {}, None, None, None)
        return judgments(found, judge(found, [[0.0] * len(one.human) for one in found.rankings], True), dataset, None)

    return count


def hpdv2(sizes):
    return [
        {"prompt": f"prompt {k}", "image_path": [f"{k}_{i}.jpg" for i in range(size)], "rank": list(range(size)), "raw_annotations": []}
        for k, size in enumerate(sizes)
    ]


def image_reward():
    """466 rankings; each has one tie, and the first 365 a second one apart from it: 831 ties."""
    rows = []
    for size in [size for size, count in IMAGE_REWARD_SIZES.items() for _ in range(count)]:
        ranks = list(range(1, size + 1))
        ranks[1] = ranks[0]
        if len(rows) < 365:
            ranks[3] = ranks[2]
        rows.append({"id": str(len(rows)), "prompt": f"p{len(rows)}", "generations": [f"{i}.webp" for i in range(size)], "ranking": ranks})
    return rows


def test_the_pairs_of_hpdv2_are_15300(counted):
    found = counted(hpdv2([9] * 300 + [10] * 100))
    assert (found.rankings, found.prompts, found.pairs, found.ties) == (400, 400, 15_300, 0)
    assert (found.dataset, found.reader, found.one_pair_each) == ("hpdv2_test", "hpdv2", False)


def test_the_decided_pairs_of_image_reward_are_6399(counted):
    found = counted(image_reward())
    assert (found.rankings, found.pairs, found.ties, found.pairs - found.ties) == (466, 7230, 831, 6399)
    assert (found.dataset, found.reader) == ("image_reward_test", "image_reward")


def test_the_decided_pairs_of_pick_a_pic_are_its_rows_without_ties(tmp_path, pick_rows_without_images):
    labels = [1.0, 0.0] * 212 + [0.5] * 76
    found = load_rankings(pick_rows_without_images(labels), "auto", {}, None, None, None)
    result = judgments(found, judge(found, [(0.0, 0.0)] * 500, True), "pickapic_v2_test_unique", None)
    assert (result.rankings, result.pairs, result.ties, result.pairs - result.ties) == (500, 500, 76, 424)
    assert (result.dataset, result.remark, result.one_pair_each) == ("pickapic_v2_test_unique", None, True)
    # the same counts do not tell version 1 from version 2
    assert judgments(found, judge(found, [(0.0, 0.0)] * 500, True), None, None).dataset is None


@pytest.fixture
def pick_rows_without_images(tmp_path, monkeypatch):
    monkeypatch.setattr("mmalign.data.examples.exists", lambda path: True)

    def write(labels):
        path = tmp_path / "pick.jsonl"
        rows = [{"caption": f"c{k}", "jpg_0": "a", "jpg_1": "b", "label_0": label, "label_1": 1 - label} for k, label in enumerate(labels)]
        path.write_text("\n".join(map(json.dumps, rows)))
        return str(path)

    return write


def test_a_part_of_a_test_set_is_not_it(counted):
    assert counted(hpdv2([9] * 300 + [10] * 99)).dataset is None
    said = counted(hpdv2([9] * 300 + [10] * 99), "hpdv2_test")
    assert said.dataset is None
    assert said.remark == "this is said to be HPDv2 test, which has 400 rankings, but it has 399, so the published numbers are left out"
    assert mismatch("image_reward_test", 466, 7230, 6398) == (
        "this is said to be ImageReward test, which has 6399 decided pairs, but it has 6398, so the published numbers are left out"
    )
    assert mismatch("hpdv3_test", 1, 2, 3) is None  # nothing is known of its size


def test_only_the_right_reader_recognizes_a_test_set():
    assert recognized("image_reward_db", 466, 7230, 6399) == "image_reward_test"
    assert recognized("ranked", 466, 7230, 6399) is None
    assert recognized("pickapic", 500, 500, 424) is None


def found_by(scorer, dataset, source_part):
    (row,) = [row for row in on(dataset) if row.scorer == scorer and source_part in row.source]
    return row.accuracy


def test_numbers_as_published():
    assert found_by("HPS v2.1", "hpdv2_test", "HPSv2") == 0.841
    assert found_by("HPS v2", "image_reward_test", "HPSv2") == 0.657
    assert found_by("PickScore", "pickapic_v1_test_unique", "PickScore") == 0.705
    assert found_by("ImageReward", "image_reward_test", "table 3") == 0.6514
    assert found_by("HPSv3", "hpdv3_test", "hpsv3") == 0.769


@pytest.mark.parametrize("dataset", ["hpdv2_test", "image_reward_test", "pickapic_v2_test_unique"])
def test_the_shares_of_imscore_are_whole_numbers_of_pairs(dataset):
    """Which is how its denominators were found: the rule drops ties of people, and averages over pairs."""
    rows = [row for row in on(dataset) if "imscore" in row.source]
    assert len(rows) == 6
    for row in rows:
        right = row.accuracy * KNOWN_SETS[dataset].decided
        assert right == pytest.approx(round(right), abs=0.01)


def test_every_published_number_has_a_known_set_and_a_source():
    for row in PUBLISHED:
        assert row.dataset in KNOWN_SETS
        assert row.source
        assert 0.4 < row.accuracy < 0.9
        assert (row.policy is None) == (row.mean is None)
        assert row.verified == (row.policy is not None)
    assert any(not row.verified for row in PUBLISHED)


def test_versions_are_told_apart():
    assert {row.accuracy for row in of_scorer("hpdv2_test", "hpsv2", {"version": "2.1"})} == {0.841, 0.833464}
    assert {row.accuracy for row in of_scorer("hpdv2_test", "hpsv2", {"version": "v2.0"})} == {0.833}
    assert of_scorer("hpdv2_test", "hpsv2", {"version": "3"}) == []
    assert of_scorer("hpdv2_test", "colorfulness", {}) == []
    clip = {"pretrained": "ViT-L-14:openai", "form": "cosine"}
    assert {row.accuracy for row in of_scorer("image_reward_test", "clip_score", clip)} == {0.5482, 0.571652}
    assert of_scorer("image_reward_test", "clip_score", {**clip, "form": "clipscore"}) == []


def agreement(dataset, reward, fields, *rules):
    rows = [Accuracy(policy, mean, Interval(0.5, 0.4, 0.6), 10) for policy, mean in rules]
    return Agreement("x", reward, "", rows, [], 0, 0, published=of_scorer(dataset, reward, fields))


def shown(dataset, reward, fields, policy, mean, single=False):
    found = agreement(dataset, reward, fields, (policy, mean))
    return beside(found, found.main, single)


def test_a_number_stands_beside_ours_only_under_the_same_rule():
    version = {"version": "2.1"}
    assert shown("hpdv2_test", "hpsv2", version, "never_wrong", "rankings") == "84.1% (README of tgxs002/HPSv2)"
    assert shown("hpdv2_test", "hpsv2", version, "decided", "pairs") == "83.3% (bench.md of RE-N-Y/imscore)"
    assert shown("hpdv2_test", "hpsv2", version, "never_wrong", "pairs") == "-"
    assert shown("hpdv2_test", "oracle", {}, "decided", "pairs") == "-"


def test_other_rules_are_told_apart_from_the_rows():
    decided = agreement("hpdv2_test", "mps", {}, ("decided", "rankings"), ("never_wrong", "pairs"))
    assert elsewhere(decided, False) == [
        "Published under another policy: 83.5%, ties never wrong, over rankings (README of Kwai-Kolors/MPS).",
        "Published under another policy: 83.9%, ties of people dropped, over pairs (bench.md of RE-N-Y/imscore).",
    ]
    hpsv3 = agreement("hpdv2_test", "hpsv3", {}, ("never_wrong", "rankings"), ("decided", "pairs"))
    assert elsewhere(hpsv3, False) == ["Published under another policy: 85.4%, rule not stated (unverified) (README of hpsv3 1.0.0)."]


def test_with_one_pair_in_each_ranking_both_means_are_the_same():
    assert shown("pickapic_v1_test_unique", "pickscore", {}, "half_credit", "rankings", single=True).startswith("70.5%")
    assert shown("pickapic_v1_test_unique", "pickscore", {}, "half_credit", "rankings") == "-"


def test_rules_in_words():
    assert rule(PUBLISHED[0]) == "ties never wrong, over rankings"
    assert rule(next(row for row in PUBLISHED if not row.verified)) == "rule not stated (unverified)"


def test_the_benchmarks_averages_are_those_of_their_styles():
    for rows in (VERSION_2_0, VERSION_2_1):
        assert len(rows) == 22
        for generator, (*styles, average) in rows:
            assert sum(styles) / 4 == pytest.approx(average, abs=0.011), generator
    assert published_rows("hpsv2", {"version": "2.1"})[0] == ("SDXL Refiner 0.9", (33.26, 32.07, 31.63, 28.38, 31.34))
    assert published_rows("hpsv2", {"version": "v2.0"})[-1][0] == "GLIDE"
    assert published_rows("pickscore", {"version": "2.1"}) == []
