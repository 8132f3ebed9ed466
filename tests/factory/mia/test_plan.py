"""Which rows have how many pictures: the published numbers, and shards that do not change what is answered together."""

from mmalign.config.mia import PUBLISHED_SHARES, PUBLISHED_THRESHOLDS
from mmalign.factory.mia.plan import Plan, requests


def test_rows_of_the_published_number_are_dealt_as_published():
    # the columns of the published table: textvqa, coco, ocr_vqa, vg, gqa
    table = {
        2: (1200, 20000, 4500, 4800, 3800),
        3: (350, 6000, 1200, 1300, 1200),
        4: (350, 6000, 1200, 1300, 1100),
        5: (295, 4410, 1100, 1242, 1114),
    }
    rows = sum(map(sum, table.values()))
    assert rows == 62461
    made = requests(rows, {"sequence": PUBLISHED_SHARES["sequence"]}, seed=3)
    assert {count: sum(one.count == count for one in made) for count in table} == {count: sum(row) for count, row in table.items()}
    assert sorted(one.row for one in made) == list(range(rows))


def test_thresholds_are_the_published_ones():
    assert PUBLISHED_THRESHOLDS == {
        "sequence": {2: 0.8, 3: 0.7, 4: 0.6, 5: 0.6},
        "collage": {2: 0.7, 3: 0.6, 4: 0.5, 6: 0.4, 9: 0.3},
        "pic_in_pic": {2: 0.8},
    }


def test_every_row_is_made_into_every_kind_and_numbers_follow_one_another():
    made = requests(7, {"collage": {4: 1, 2: 1}, "pic_in_pic": {2: 1}}, seed=0)
    assert [one.number for one in made] == list(range(14))
    assert sorted(one.row for one in made[:7]) == sorted(one.row for one in made[7:]) == list(range(7))
    assert [one.count for one in made[:7]] in ([4] * 3 + [2] * 4, [4] * 4 + [2] * 3)
    assert made != requests(7, {"collage": {4: 1, 2: 1}, "pic_in_pic": {2: 1}}, seed=1)


def test_shards_hold_whole_batches():
    plan = Plan(requests(10, {"pic_in_pic": {2: 1}}, 0), batch=3, shard=4)
    assert plan.sizes == [6, 4]
    assert [one.number for one in plan.shard_of(1)] == [6, 7, 8, 9]
