"""What `mmalign users fit` says of people who were held out."""

from types import SimpleNamespace

import pytest
import torch

from mmalign.data.schema import Example
from mmalign.personalization.reward_models import Choices
from mmalign.users.fit_job import measured


class Pictures:
    """Each picture is a direction of its own."""

    def choices(self, people, ready):
        users = torch.repeat_interleave(torch.tensor([len(own) for own in people]))
        sides = [[example.images[side][0] for own in people for example in own] for side in (0, 1)]
        return Choices.of(users, *(torch.eye(64)[side] for side in sides))


class Memory:
    """Knows the pictures that were chosen and those that were not, and nothing else."""

    def known(self, choices):
        return ((choices.chosen - choices.rejected) * choices.there[..., None]).sum(1)

    def margins(self, choices, states):
        return ((choices.chosen - choices.rejected) * states[:, None]).sum(-1)


@pytest.mark.parametrize("prompts", [4, 16])
def test_a_picture_that_was_shown_is_not_told_again(prompts):
    """Under each prompt one picture wins three times over the same other: who remembers it is right of these, and half right of others."""
    own = [Example(f"p{number}", (bytes([2 * number]), bytes([2 * number + 1]))) for number in range(prompts) for _ in range(3)]
    encoder = SimpleNamespace(features=Pictures(), reader=SimpleNamespace(prepared=None, model=Memory()))
    found = measured(encoder, {"ann": own, "ben": own[:1], "cyd": own})
    assert found == {"1": 0.5, "2": 0.5, "4": 0.5, "8": 0.5}


def test_nothing_is_measured_of_people_with_one_prompt():
    own = [Example("p", (bytes([0]), bytes([1])))] * 5
    encoder = SimpleNamespace(features=Pictures(), reader=SimpleNamespace(prepared=None, model=Memory()))
    assert measured(encoder, {"ann": own, "ben": own}) == {}
