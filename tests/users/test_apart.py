"""A person's choices with their prompts kept apart."""

from collections import Counter

import pytest

from mmalign.data.schema import Example
from mmalign.users.apart import by_prompt, in_turns, shown_and_told


def choices(*prompts):
    return [Example(prompt, (b"", b""), origin=str(number)) for number, prompt in enumerate(prompts)]


def session(prompts, each):
    """Neighbors are of one prompt, as in Pick-a-Pic."""
    return choices(*(f"p{number}" for number in range(prompts) for _ in range(each)))


def origins(own):
    return [example.origin for example in own]


def test_no_prompt_comes_again_before_all_others_have_come():
    own = session(prompts=5, each=3)
    order = in_turns(own, "0, ann")
    assert sorted(origins(order), key=int) == origins(own)
    for start in range(0, 15, 5):
        assert {example.prompt for example in order[start : start + 5]} == {f"p{number}" for number in range(5)}


def test_where_prompts_have_different_numbers_of_choices_the_rest_is_of_what_is_left():
    order = in_turns(choices("a", "a", "a", "a", "b", "c", "c"), "0, ann")
    assert [len({example.prompt for example in part}) for part in (order[:3], order[3:5], order[5:])] == [3, 2, 1]


def test_the_order_follows_from_seed_and_name_alone():
    own = session(prompts=8, each=2)
    assert origins(in_turns(own, "0, ann")) == origins(in_turns(own, "0, ann"))
    orders = {tuple(origins(in_turns(own, seed))) for seed in ("0, ann", "1, ann", "0, ben")}
    assert len(orders) == 3


def test_every_choice_is_as_often_the_first():
    """12 choices under 4 prompts, 12,000 draws: 1,000 each, with a deviation of 30."""
    own = session(prompts=4, each=3)
    first = Counter(in_turns(own, f"{seed}, ann")[0].origin for seed in range(12_000))
    assert len(first) == 12
    assert all(880 < count < 1120 for count in first.values())


def test_choices_without_a_prompt_are_each_under_one_of_their_own():
    assert len(in_turns(choices("", "", ""), "0, ann")) == 3
    assert {example.prompt for example in in_turns(choices("", "", "a", "a", "a"), "0, ann")[:3]} == {"", "a"}
    assert origins(in_turns([], "0, ann")) == []


def test_choices_that_are_told_are_under_other_prompts_than_those_shown():
    own = choices(*(f"p{number % 5}" if number < 10 else "" for number in range(13)))
    first, rest = by_prompt(own, 5, "0, ann")
    assert sorted(map(int, origins([*first, *rest]))) == list(range(13))
    assert not {example.prompt for example in first if example.prompt} & {example.prompt for example in rest}
    assert len(first) in (5, 6)
    assert by_prompt(own, 5, "0, ann")[0] == first


@pytest.mark.parametrize(
    ("prompts", "each", "most"),
    [(9, 1, 8), (8, 1, 4), (3, 4, 8), (2, 8, 8), (2, 4, 4), (2, 3, 2), (1, 20, 0)],
)
def test_as_many_are_shown_as_leave_another_prompt_to_tell(prompts, each, most):
    """Of two prompts with eight choices each, eight are shown and eight told; of one prompt nothing can be told."""
    found, able = shown_and_told({"ann": session(prompts, each)}, (1, 2, 4, 8), 0)
    assert found == most
    for shown, told in able.values():
        assert len(shown) == most
        assert told
        assert not {example.prompt for example in shown} & {example.prompt for example in told}


def test_a_number_is_shown_where_half_of_the_people_have_enough():
    few, many = session(3, 1), session(9, 1)
    assert shown_and_told({"a": few, "b": many}, (1, 2, 4, 8), 0)[0] == 8
    found, able = shown_and_told({"a": few, "b": few, "c": many}, (1, 2, 4, 8), 0)
    assert (found, set(able)) == (2, {"a", "b", "c"})
