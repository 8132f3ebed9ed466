"""The stream of rows: every row once an epoch, and the same rows whatever the split over micro-batches and processes."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmalign.training.order import BatchPlan, derived_seed, row_at

small = st.integers(1, 4)


@given(st.integers(1, 40), st.integers(0, 5), st.integers(0, 3))
def test_each_epoch_visits_every_row_once(rows, seed, epoch):
    visited = [row_at(epoch * rows + i, rows, seed) for i in range(rows)]
    assert sorted(visited) == list(range(rows))


def test_epochs_and_seeds_have_their_own_order():
    orders = {tuple(row_at(epoch * 50 + i, 50, seed) for i in range(50)) for epoch in range(3) for seed in range(3)}
    assert len(orders) == 9


@given(small, small, small, st.integers(0, 3))
def test_the_rows_of_a_step_do_not_depend_on_how_they_are_dealt(batch, accumulation, world, step):
    plans = [BatchPlan(30, batch, accumulation, world, rank) for rank in range(world)]
    dealt = [item for plan in plans for micro in range(accumulation) for item in plan.micro_batch(step, micro)]
    whole = BatchPlan(30, batch * accumulation * world).micro_batch(step, 0)
    assert sorted(dealt, key=lambda item: item[1]) == whole


def test_starting_later_gives_the_rest_of_the_same_stream():
    plan = BatchPlan(7, 2, accumulation=3, seed=1)
    assert list(plan.from_step(2, 6)) == list(plan.from_step(0, 6))[2 * 3 :]


@pytest.mark.parametrize("other", [(1, "draw", 0), (0, "order", 0), (0, "draw", 1), (0, "draw")])
def test_seeds_of_different_purposes_differ(other):
    assert derived_seed(0, "draw", 0) != derived_seed(*other)


BUCKETS = st.lists(st.integers(1, 12), min_size=1, max_size=4)


def members_of(counts):
    """Rows of buckets with so many rows, dealt at random."""
    rows = np.random.default_rng(0).permutation(sum(counts))
    return np.split(rows, np.cumsum(counts)[:-1])


def bucketed_plans(counts, batch, accumulation=1, world=1, seed=0):
    rows, members = sum(counts), members_of(counts)
    return [BatchPlan(rows, batch, accumulation, world, rank, seed, members) for rank in range(world)]


@given(BUCKETS, small, small, small, st.integers(0, 2))
@settings(deadline=None)
def test_all_processes_have_rows_of_one_bucket_at_a_time(counts, batch, accumulation, world, seed):
    bucket_of = {row: bucket for bucket, rows in enumerate(members_of(counts)) for row in rows.tolist()}
    plans = bucketed_plans(counts, batch, accumulation, world, seed)
    for step in range(4):
        for micro in range(accumulation):
            together = [row for plan in plans for row, _ in plan.micro_batch(step, micro)]
            assert len(together) == batch * world
            assert len({bucket_of[row] for row in together}) == 1


@given(BUCKETS, st.integers(1, 6), st.integers(1, 5), st.integers(0, 2))
@settings(deadline=None)
def test_every_row_of_a_bucket_comes_once_before_any_comes_again(counts, batch, epochs, seed):
    [plan] = bucketed_plans(counts, batch, seed=seed)
    batches = sum(epochs * count // batch for count in counts)
    seen = Counter(plan.row_at(position) for position in range(batches * batch))
    for rows in members_of(counts):
        times = [seen[row] for row in rows.tolist()]
        assert max(times) - min(times) <= 1
        # less than a batch of a bucket waits for the next epoch
        assert epochs * len(rows) - batch < sum(times) <= epochs * len(rows)


@given(BUCKETS, st.integers(0, 200), st.integers(1, 3))
@settings(deadline=None)
def test_a_position_has_its_row_whatever_was_asked_before(counts, position, world):
    through, jumped = bucketed_plans(counts, 2, world=world)[0], bucketed_plans(counts, 2, world=world)[0]
    assert [through.row_at(p) for p in range(position + 1)][-1] == jumped.row_at(position)


@given(BUCKETS, small, st.integers(0, 3))
@settings(deadline=None)
def test_accumulation_and_processes_leave_the_stream_of_buckets_as_it_is(counts, accumulation, step):
    """Two processes with a row each and one with two rows have the same stream, however long a step is."""
    [one] = bucketed_plans(counts, 2, accumulation)
    two = bucketed_plans(counts, 1, accumulation, 2)
    dealt = sorted((p, row) for plan in two for micro in range(accumulation) for row, p in plan.micro_batch(step, micro))
    assert dealt == sorted((p, row) for micro in range(accumulation) for row, p in one.micro_batch(step, micro))
    [longer] = bucketed_plans(counts, 2, 3 * accumulation)
    assert [longer.row_at(p) for p in range(20)] == [one.row_at(p) for p in range(20)]


def test_buckets_come_in_another_order_in_every_epoch_and_seed():
    counts = (20, 20, 20)
    bucket_of = {row: bucket for bucket, rows in enumerate(members_of(counts)) for row in rows.tolist()}
    orders = set()
    for seed in range(3):
        [plan] = bucketed_plans(counts, 2, seed=seed)
        orders |= {tuple(bucket_of[plan.row_at(60 * epoch + 2 * i)] for i in range(30)) for epoch in range(3)}
    assert len(orders) == 9
