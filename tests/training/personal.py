"""Preferences of people who disagree, and tiny pipelines with a conditioner."""

from dataclasses import replace

import torch

from mmalign import pipelines
from mmalign.config import FullConfig, LoraAdapterConfig, NoAdapterConfig, UsersConfig
from mmalign.diffusion.policy import DiffusionPolicy
from mmalign.personalization import UserSamples
from mmalign.training.people import RunUsers
from mmalign.training.personal import PersonalTraining
from mmalign.training.trainable import trainable
from tests import tiny
from tests.training.conftest import graded

NAMES = ("ann", "ben")
TOKENS, WIDTH = 3, 5
ADAPTERS = {"lora": LoraAdapterConfig(rank=2), "full": FullConfig(), "none": NoAdapterConfig()}


def disagreeing(count, names=NAMES):
    """Each pair once for every user: the first prefers the first picture, the second the other, and so on."""
    found = []
    for i, example in enumerate(graded(count)):
        for place, name in enumerate(names):
            images = example.images if place % 2 == 0 else example.images[::-1]
            found.append(replace(example, images=images, scores=None, user_id=name, origin=f"row {len(names) * i + place}"))
    return found


def samples(names=NAMES, count=2):
    """Several embeddings of each user."""
    made = torch.Generator().manual_seed(1)
    return UserSamples({name: torch.randn(count, TOKENS, WIDTH, generator=made) for name in names})


def people(dropout=0.0, table=False, known=None):
    """Two users with embeddings, or with a table."""
    known = None if table else known or samples()
    size = (4, 64) if table else known.size
    config = UsersConfig(dropout=dropout, dim=8, embeddings="table" if table else "users.safetensors")
    return RunUsers(config, dict.fromkeys(NAMES, 3), {}, {}, known, *size)


def learned(module, spread=0.3):
    """Moves every trained parameter, so that users matter."""
    with torch.no_grad():
        for place, parameter in enumerate(p for p in module.parameters() if p.requires_grad):
            parameter.add_(spread * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(place)))


def personal_policy(name, adapter="none", who=None, moved=True):
    """A tiny pipeline with a conditioner, as a policy."""
    family = pipelines.load(tiny.PIPELINES[name]())
    trained = PersonalTraining(trainable(family, ADAPTERS[adapter], seed=0), who or people(), seed=0)
    if moved:
        learned(trained.module)
    return DiffusionPolicy(family, trained.module, trained.reference), trained
