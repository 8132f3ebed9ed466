"""``mmalign users fit``: choices to a set encoder, measured on people whom it was not trained on."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mmalign.config import FitUsersConfig
from mmalign.errors import UserError
from mmalign.personalization.reward_models import Choices, UserRewardModel, accuracy
from mmalign.users.apart import in_turns, shown_and_told
from mmalign.users.encoder import FILE, Person
from mmalign.users.features import Features
from mmalign.users.fitting import Recipe, fit_encoder
from mmalign.users.held_out import held_out
from mmalign.users.set_encoder import SetEncoder
from mmalign.users.sourced import people_in

SHOTS = (1, 2, 4, 8)
ACTIVE = 0.01
"""Variance over people above which a number of an embedding tells something (Burda and others, arXiv 1509.00519)."""


def run(config: FitUsersConfig) -> str:
    """Trains as configured, and gives what to show.

    Raises:
        UserError: the choices, the scorer or the output cannot be used.
    """
    if (config.out / FILE).exists() and not config.overwrite:
        raise UserError(f"{config.out} holds an encoder already; give another --out, or --overwrite to fit anew")
    people = people_in(config.data).having(2).at_most(config.most, config.seed)
    features = Features(config.scorer, config.features, config.cache)
    out = held_out(config.held_out, list(people.choices))
    seen, unseen = ([name for name in people.choices if (name in out) is held] for held in (False, True))
    encoder = fit_encoder([people.choices[name] for name in seen], features, _recipe(config))
    lines = [people.told()]
    encoder.about["held_out"] = config.held_out
    if config.held_out and not unseen:
        lines.append(f"nobody is held out: of {len(seen)} people, none is among the share; name some in held_out")
    if unseen:
        lines += _of_unseen(encoder, {name: people.choices[name] for name in unseen}, config.seed)
    encoder.save(config.out)
    return "\n".join([*lines, str(config.out)])


def _of_unseen(encoder: SetEncoder, people: Mapping[str, Person], seed: int) -> list[str]:
    """What the encoder knows of people who were held out, for its file and to show."""
    found = measured(encoder, people, seed)
    encoder.about |= {"unseen_people": len(people), "unseen_accuracy": found}
    few = f"nothing is measured: fewer than half of the {len(people)} people who were held out have choices under two prompts"
    lines = _table(found, len(people)) if found else [few]
    if len(people) > 1:
        first = [in_turns(own, f"{seed}, {name}")[: SHOTS[-1]] for name, own in people.items()]
        count = active(encoder, encoder.features.choices(first, encoder.reader.prepared))
        lines.append(f"{count} of {encoder.width} numbers are active")
    return lines


def measured(encoder: SetEncoder, people: Mapping[str, Person], seed: int = 0) -> dict[str, float]:
    """How often other choices of people are told from some of theirs, by the number of these.

    The choices that are told are the same for every number, and under other prompts than those shown: choices under one prompt often share
    a picture, and then one gives the other away. Numbers for which fewer than half of the people have enough are left out.
    """
    most, able = shown_and_told(people, SHOTS, seed)
    if not able:
        return {}
    known = encoder.features.choices([shown.only(shown.places + told.places) for shown, told in able.values()], encoder.reader.prepared)
    told, model = known.split(most)[1], encoder.reader.model
    numbers = [shots for shots in SHOTS if shots <= most]
    return {str(shots): float(accuracy(_margins(model, known.split(shots)[0], told), told).mean()) for shots in numbers}


@torch.no_grad()
def _margins(model: UserRewardModel, shown: Choices, told: Choices) -> Tensor:
    return model.margins(told, model.known(shown))


def active(encoder: SetEncoder, choices: Choices) -> int:
    """Numbers of the embedding that differ between people. Features are ready."""
    return int((encoder.reader.read(choices).var(0) > ACTIVE).sum())


def _table(accuracies: Mapping[str, float], people: int) -> list[str]:
    heads = "  ".join(f"{shots:>6}" for shots in accuracies)
    values = "  ".join(f"{value:>6.1%}" for value in accuracies.values())
    return [f"choices shown    {heads}", f"others told      {values}   of {people} people who were held out"]


def _recipe(config: FitUsersConfig) -> Recipe:
    return Recipe(**{name: getattr(config, name) for name in Recipe.__dataclass_fields__})
