"""Ranking goes on after a kill with the same files, and several processes make those that one makes."""

import random
import time

import pytest

from mmalign.config import RankConfig, from_mapping
from mmalign.errors import UserError
from mmalign.factory import ranker
from mmalign.factory.rank import run
from mmalign.resumable.shard_folder import finished
from tests.factory.conftest import contents
from tests.factory.scored_pictures import flat, table
from tests.forked import killed_at_random, shared


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Sixty pictures of twenty prompts, model by model, in five files."""
    draw = random.Random(0)
    rows = [
        {"prompt": f"prompt {p}", "image": flat(draw.randrange(200)), "model": f"m{m}", "a": draw.random(), "b": draw.random()}
        for m in range(3)
        for p in range(20)
    ]
    for row in rows[::9]:
        row["a"] = None
    for row in rows[4::13]:
        row["image"] = b"broken"
    return table(tmp_path_factory.mktemp("scored") / "pictures", rows, files=5)


@pytest.fixture
def configured(pictures, tmp_path):
    def make(**changes):
        values = {"pictures": str(pictures), "rewards": ["a", "b"], "keep": "all_pairs", "shard_size": 3, "out": str(tmp_path / "pairs")}
        return from_mapping({**values, "workers": 1, **changes}, RankConfig)

    return make


@pytest.fixture
def whole(configured, tmp_path):
    config = configured(out=str(tmp_path / "whole"))
    shown = run(config)
    return contents(config.out), shown


def slowly(config):
    """A run that takes a while for each picture."""
    look = ranker.look

    def slow(*arguments):
        time.sleep(0.01)
        return look(*arguments)

    ranker.look = slow
    run(config)


def test_kills_at_random_moments_leave_no_trace(configured, whole):
    config = configured()
    killed = killed_at_random(lambda: slowly(config), 0.6)
    if finished(config.out) is None:
        assert run(config).replace("/pairs", "/whole") == whole[1]
    assert killed
    assert contents(config.out) == whole[0]


def test_two_processes_make_the_files_that_one_makes(configured, whole):
    shared(lambda rank: slowly(configured()))
    assert contents(configured().out) == whole[0]


@pytest.mark.parametrize("changes", [{"workers": 0}, {"workers": 4}])
def test_threads_change_nothing(configured, whole, changes):
    run(configured(**changes))
    assert contents(configured().out) == whole[0]


def test_other_settings_or_scores_are_refused(configured, tmp_path, monkeypatch):
    from mmalign.resumable.shard_folder import ShardFolder

    write = ShardFolder.write

    def stop(self, number, made):
        if number == 2:
            raise KeyboardInterrupt
        write(self, number, made)

    with monkeypatch.context() as patch:
        patch.setattr(ShardFolder, "write", stop)
        with pytest.raises(KeyboardInterrupt, match="6 of 20 prompts are ranked and saved; the same command goes on from there"):
            run(configured())
    with pytest.raises(UserError, match=r"min_gap was 0.0 and is 0.5; give the same to go on, or --overwrite to rank anew"):
        run(configured(min_gap=0.5))
    shorter = table(tmp_path / "shorter", [{"prompt": "x", "image": flat(level), "a": 1.0 * level, "b": 0.0} for level in (1, 2)])
    with pytest.raises(UserError, match="the pictures or their scores are others"):
        run(configured(pictures=str(shorter)))
    run(configured())
    with pytest.raises(UserError, match="pairs is there already; give another --out, or --overwrite to rank anew"):
        run(configured())
