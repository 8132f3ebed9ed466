"""Clips on their way through the factory: which are the same, and how many are in memory together."""

import pytest

from mmalign.config import GenerateConfig, from_mapping
from mmalign.data.apng import apng
from mmalign.data.schema import Example
from mmalign.data.write import BYTES_PER_GROUP, _group
from mmalign.factory.looks import look, without_duplicates
from mmalign.factory.requests import Plan
from tests.clips import folder_of, pictures


def looked(*sources):
    return [look(row, source, f"row {row}") for row, source in enumerate(sources)]


def test_clips_are_the_same_only_where_all_frames_are(tmp_path):
    """The second one begins as the first one does, the third one is the first one as a folder."""
    first, second = apng(pictures([10, 20, 30, 40]), 8), apng(pictures([10, 20, 30, 200]), 8)
    looks = looked(first, second, folder_of(tmp_path / "clip", [10, 20, 30, 40]), apng(pictures([10, 20, 30]), 8))
    assert [each.row for each in without_duplicates(looks, 0.0)] == [0, 1, 3]


def test_nearly_the_same_clips_differ_by_less_than_is_asked_for():
    """Levels differ by 0, 0, 0 and 8: by 4 in the root mean square."""
    first, second = looked(apng(pictures([10, 20, 30, 40]), 8), apng(pictures([10, 20, 30, 48]), 8))
    assert first.same(second, 4.1)
    assert not first.same(second, 3.9)


def test_a_folder_is_kept_as_one_file(tmp_path):
    (found,) = looked(folder_of(tmp_path / "clip"))
    assert found.error is None
    assert found.source == apng(pictures(), 16)


def test_fewer_clips_than_pictures_stand_in_a_file():
    config = from_mapping({"models": ["x"], "batch_size": 3}, GenerateConfig)
    prompts = [f"prompt {number}" for number in range(300)]
    assert Plan(prompts, config).sizes == [129, 129, 42]
    assert Plan(prompts, config, films=True).sizes[:2] == [9, 9]
    assert Plan(prompts, config.model_copy(update={"shard_size": 6}), films=True).sizes[:2] == [6, 6]


@pytest.mark.parametrize(("size", "expected"), [(10, [32, 8]), (BYTES_PER_GROUP // 4, [2] * 20)])
def test_large_rows_are_written_few_at_a_time(size, expected):
    class Large(bytes):
        def __len__(self):
            return size

    rest = iter([Example("a", (Large(), Large())) for _ in range(40)])
    assert [len(part) for part in iter(lambda: _group(rest), [])] == expected
