"""A person's choices with their prompts kept apart: data often has several choices of a person under one prompt, and one picture in
several of these, so that two of them say little more than one, and one tells much of another."""

import random
from collections.abc import Mapping, Sequence

from mmalign.data.schema import Example
from mmalign.users.encoder import Person
from mmalign.users.picked import Picked, mixed


def in_turns(choices: Person, seed: str) -> Picked:
    """A person's choices in a random order in which prompts take turns: none comes a second time before every other has come once.

    The first N of them are N draws at random, under N prompts where there are so many, and the first of more draws.

    Args:
        seed: decides the order; with the person's name in it, nobody's depends on who else is there.
    """
    draw = random.Random(seed)
    groups = _groups(choices)
    for group in groups:
        draw.shuffle(group)
    draw.shuffle(groups)
    turns = max(map(len, groups), default=0)
    return mixed(choices, [group[turn] for turn in range(turns) for group in groups if turn < len(group)])


def by_prompt(choices: Person, least: int, seed: str) -> tuple[Picked, Picked]:
    """A person's choices in two parts without a prompt in common, each in a random order; the first has so many or the fewest above."""
    draw, order = random.Random(seed), _groups(choices)
    first, rest = list[int](), list[int]()
    draw.shuffle(order)
    for group in order:
        (first if len(first) < least else rest).extend(group)
    draw.shuffle(first)
    return mixed(choices, first), mixed(choices, rest)


def shown_and_told(people: Mapping[str, Person], numbers: Sequence[int], seed: int) -> tuple[int, dict[str, tuple[Picked, Picked]]]:
    """Choices of each person to be shown, and others to be told from them, under other prompts.

    Args:
        numbers: of choices that may be shown, in rising order.

    Returns:
        The largest number for which half of the people have both, and both of those who do; 0 and nobody where half have them for none.
    """
    for shots in reversed(numbers):
        parts = {name: by_prompt(own, shots, f"{seed}, {name}") for name, own in people.items()}
        able = {name: (shown[:shots], told) for name, (shown, told) in parts.items() if len(shown) >= shots and told}
        if 2 * len(able) >= max(1, len(people)):
            return shots, able
    return 0, {}


def _groups(choices: Sequence[Example]) -> list[list[int]]:
    """Places of the choices by prompt; those without one are each under one of their own."""
    groups: dict[object, list[int]] = {}
    for place, example in enumerate(choices):
        groups.setdefault(example.prompt or place, []).append(place)
    return list(groups.values())
