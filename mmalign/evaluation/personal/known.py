"""The people of an evaluation: embedded from choices of theirs, or known to the run by name."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from mmalign.data.schema import Example
from mmalign.errors import UserError
from mmalign.evaluation.personal.people import Person
from mmalign.evaluation.personal.plan import Options
from mmalign.evaluation.personal.result import Group
from mmalign.shapes.people import described, everybody
from mmalign.users.encoder import UserEncoder
from mmalign.users.personal import LIST

"""What a run says of its users."""
Said = Callable[[str], str]
"""What a person likes, by name; empty where nobody knows."""


def of_choices(
    choices: Mapping[str, Sequence[Example]],
    encoder: UserEncoder,
    trained: Iterable[str],
    options: Options,
    sizes: Mapping[Group, int],
    said: Said = lambda name: "",
) -> list[Person]:
    """People in the order of the choices, each embedded from their first so many of them; unseen ones first.

    Args:
        choices: of each person, by name, in the order in which they are shown (``users.apart.in_turns`` draws one).
        trained: names of those whose choices the run was trained on.
        sizes: people of each group, at most. One with fewer choices than asked for is left out.

    Raises:
        UserError: nobody has choices enough, or a picture cannot be read.
    """
    known = set(trained)
    people: list[Person] = []
    for group in ("unseen", "seen"):
        shots = options.shots if group == "unseen" else (options.main_shots,)
        names = [name for name, own in choices.items() if (name in known) == (group == "seen") and len(own) >= max(shots)]
        chosen = names[: sizes[group]]
        by_shots = {number: encoder.embed_many([choices[name][:number] for name in chosen]) for number in shots} if chosen else {}
        for place, name in enumerate(chosen):
            users = {number: embeddings[place] for number, embeddings in by_shots.items()}
            people.append(Person(name, group, users, said(name)))
    if not people:
        raise UserError(f"nobody has {max(options.shots)} choices or more; lower shots, or give more choices")
    return people


def by_name(names: Iterable[str], count: int, said: Said = lambda name: "") -> list[Person]:
    """People whom the run knows by name, the first so many."""
    return [Person(name, "seen", {0: name}, said(name)) for name in list(names)[:count]]


def trained_on(folder: Path) -> list[str]:
    """Names of those whose choices a run was trained on. Raises UserError where its folder does not say."""
    try:
        return list(json.loads((folder / LIST).read_text(encoding="utf-8"))["trained"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder} has no {LIST} ({error}); give the output folder of a training run with the section users") from error


def liking(name: str) -> str:
    """What a person of the embedded world likes; empty for anybody else."""
    taste = everybody().get(name)
    return "" if taste is None else described(taste)
