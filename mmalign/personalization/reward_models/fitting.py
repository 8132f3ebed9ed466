"""Fitting a model of users' tastes to their choices."""

import torch

from mmalign.errors import UserError
from mmalign.personalization.reward_models.choices import Choices
from mmalign.personalization.reward_models.model import UserRewardModel


def fit(
    model: UserRewardModel,
    choices: Choices,
    steps: int = 500,
    rate: float = 5e-3,
    decay: float = 1e-2,
    batch: int = 64,
    seed: int = 0,
    shots: int | None = None,
) -> list[float]:
    """Trains a model in place with AdamW, and gives the loss of each step. A step has some users with all of their choices.

    Args:
        rate: learning rate.
        decay: AdamW's weight decay.
        batch: users per step.
        seed: decides which users come when, and what is sampled.
        shots: a model that reads a user from choices sees, of each, a number of them at random from 1 to this, and has to tell the others;
            None = it sees all that it has to tell, as published.

    Raises:
        UserError: the loss is not a finite number.
    """
    draw = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    losses = []
    for step in range(steps):
        users = torch.randperm(len(choices), generator=draw)[:batch]
        context, asked = None, choices.users(users)
        if shots is not None:
            context, asked = asked.drawn(shots, draw)
        loss = model.loss(asked, users, torch.randn(len(users), model.width, generator=draw), context)
        if not loss.isfinite():
            raise UserError(f"the loss of {type(model).__name__} is {loss.item()} at step {step}; lower the rate")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
