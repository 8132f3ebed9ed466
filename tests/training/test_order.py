"""The stream of rows: every row once an epoch, and the same rows whatever the split over micro-batches and processes."""

import pytest
from hypothesis import given
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
