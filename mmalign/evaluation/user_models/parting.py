"""Who is trained on and which choices are told: no person's two parts have a prompt in common, as data often has one picture in several of
a prompt's pairs."""

import random

from mmalign.config import UserRewardsConfig
from mmalign.errors import UserError
from mmalign.users.apart import by_prompt
from mmalign.users.picked import Picked
from mmalign.users.samples import People

LEAST = 4
"""Choices of a person who is trained on, at least: some are kept back."""

Parts = dict[str, tuple[Picked, Picked]]
"""By name, choices that a model learns a person from, and others that it is to tell."""


def parted(people: People, config: UserRewardsConfig) -> tuple[Parts, Parts]:
    """Those who are trained on, and those who are not.

    Raises:
        UserError: too few have enough choices.
    """
    most = max(config.shots)
    able = {}
    for name in sorted(people.choices):
        shown, told = by_prompt(people.choices[name], most, f"{config.seed}, {name}")
        if len(shown) >= most and len(told) >= config.told:
            able[name] = shown[:most], told
    count = round(config.unseen * len(able))
    if count < 2:
        raise UserError(
            f"{len(able)} people have {most + config.told} choices or more, {config.told} of them under prompts of their own, too few to "
            f"leave {config.unseen:.0%} of them out of the training; ask for fewer shots, or give more choices"
        )
    held = set(random.Random(config.seed).sample(list(able), count))
    seen = {}
    for name, own in people.choices.items():
        if name not in held and len(own) >= LEAST:
            seen[name] = by_prompt(own, max(1, round(len(own) * (1 - config.kept))), f"{config.seed}, {name}")
    if len(seen) < 2 or not any(kept for _, kept in seen.values()):
        raise UserError(
            f"{len(seen)} people with {LEAST} choices under several prompts are left to train on; leave fewer out with unseen, or give more"
        )
    return seen, {name: able[name] for name in people.choices if name in held}
