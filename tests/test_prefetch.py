import os
import threading
import time

import pytest

from mmalign.prefetch import cores, prefetch


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("ahead", [0, 1, 4, 100])
def test_results_come_in_the_order_of_the_items(workers, ahead):
    def slow_first(item):
        time.sleep(0.02 if item == 0 else 0)
        return item * item

    assert list(prefetch(slow_first, iter(range(20)), workers, ahead)) == [i * i for i in range(20)]


@pytest.mark.parametrize("workers", [0, 2])
def test_no_items_give_no_results(workers):
    assert list(prefetch(str, [], workers, 3)) == []


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_work_no_further_ahead_than_asked(workers):
    begun = []
    results = prefetch(lambda item: begun.append(item) or item, range(50), workers, ahead=4)
    for taken, item in enumerate(results, start=1):
        assert item == taken - 1
        assert len(begun) <= taken + 4  # those handed out, and four more
        time.sleep(0.001)


def test_the_source_is_read_no_further_than_needed():
    read = []
    results = prefetch(str, (read.append(i) or i for i in range(1000)), workers=2, ahead=5)
    assert next(results) == "0"
    assert len(read) <= 6
    results.close()


def test_an_error_comes_at_its_items_turn_and_ends_the_rest():
    def fails_at_three(item):
        if item == 3:
            raise OSError("broken.png")
        return item

    results, taken = prefetch(fails_at_three, range(10), workers=2, ahead=8), []
    with pytest.raises(OSError, match=r"broken.png"):
        taken.extend(results)
    assert taken == [0, 1, 2]


def test_a_reader_that_stops_early_leaves_no_thread():
    results = prefetch(lambda item: item, range(100), workers=3, ahead=10)
    next(results)
    assert any(thread.name.startswith("prefetch") for thread in threading.enumerate())
    results.close()
    assert not any(thread.name.startswith("prefetch") for thread in threading.enumerate())


def test_work_is_done_at_the_same_time():
    together = threading.Barrier(3, timeout=10)  # passes only when three are in it at once
    assert list(prefetch(lambda item: together.wait() >= 0, range(6), workers=3, ahead=6)) == [True] * 6


def test_cores_are_those_of_the_process_or_else_of_the_machine(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5, 6}, raising=False)
    assert cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")  # as on Windows and macOS
    monkeypatch.setattr(os, "cpu_count", lambda: 10)
    assert cores() == 10
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1
