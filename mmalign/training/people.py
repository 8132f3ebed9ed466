"""Who the rows of a run are for: which users are trained on, which are held out, and what a row's draw is told of its user."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmalign import plugins
from mmalign.config import UsersConfig
from mmalign.config.users import ONE_HOT, TABLE
from mmalign.data import Examples
from mmalign.data.digest import digest
from mmalign.data.rows import absent
from mmalign.data.schema import Example
from mmalign.diffusion.users import RowUsers
from mmalign.errors import UserError
from mmalign.personalization import UserSamples
from mmalign.training.views import Chosen
from mmalign.users.encoder import FILE as ENCODER_FILE
from mmalign.users.held_out import held_out, number_of

NAMED = 3
"""Users that a message names."""
NOBODY = "(nobody)"
UNREAD = ""
"""In place of the user of an example that cannot be read, which is told by who reads it."""


@dataclass(frozen=True)
class RunUsers:
    """The users of a run.

    Attributes:
        config: the section of the configuration.
        trained, held_out: how many rows each user has, by name in the order of the alphabet.
        missing: the same of users without an embedding, whose rows are left out; under ``NOBODY`` the rows of nobody.
        samples: embeddings that are not trained, of these users and perhaps of others; None = a table is trained.
        tokens, width: of an embedding.
    """

    config: UsersConfig
    trained: Mapping[str, int]
    held_out: Mapping[str, int]
    missing: Mapping[str, int]
    samples: UserSamples | None
    tokens: int
    width: int

    def drawn(self, user: str, source: torch.Generator, marked: str = "") -> RowUsers:
        """What one draw of a row is told: one of the user's embeddings, or that it is for nobody.

        An embedding that was made from this very choice, or from another under its prompt, would tell what is to be learned.

        Args:
            marked: the ``mark`` of the row's prompt.
        """
        dropped, which = torch.rand(2, generator=source).tolist()
        present = torch.tensor([dropped >= self.config.dropout])
        if self.samples is None:
            return RowUsers(torch.tensor([self._places[user]]), present)
        own = self.samples.apart(user, marked)
        return RowUsers(own[int(which * len(own))][None], present)

    @cached_property
    def _places(self) -> dict[str, int]:
        """Where each user is in the table."""
        return {name: place for place, name in enumerate(self.trained)}

    def first_table(self, seed: int) -> Tensor:
        """The table (users, T, W) that training begins with: unit normal, a user's the same whoever else is there."""
        made = []
        for name in self.trained:
            source = torch.Generator().manual_seed(number_of(f"{seed}/{name}") >> 1)
            made.append(torch.randn(self.tokens, self.width, generator=source))
        return torch.stack(made)

    def digest(self) -> str:
        """Tells apart what rows can be told of their users."""
        if self.samples is None:
            return digest(list(self.trained))
        marks = [self.samples.marks] if self.samples.marks else []
        return digest(*(part for name in self.trained for part in (name, self.samples[name].numpy().tobytes())), *marks)

    def listed(self) -> str:
        """``users.json``: who was trained on, who was held out and who was missing, with their rows."""
        said: dict[str, Any] = {"embeddings": self.config.embeddings, "tokens": self.tokens, "width": self.width}
        said |= {name: dict(getattr(self, name)) for name in ("trained", "held_out", "missing")}
        return json.dumps(said, indent=2, ensure_ascii=False) + "\n"


def trained_people(config: UsersConfig, examples: Sequence[Example]) -> tuple[Sequence[Example], RunUsers]:
    """The examples of the users that are trained on, and who they are.

    Raises:
        UserError: a row is of nobody, nobody is left to train on, or what is known of the users does not fit the data.
    """
    names = user_ids(examples)
    counts = dict(sorted(Counter(name for name in names if name).items()))
    out = held_out(config.held_out, list(counts), "users.held_out")
    asked = [name for name in counts if name not in out]
    samples = _samples(config, asked)
    unknown = [] if samples is None else [name for name in asked if name not in samples]
    if config.on_missing == "raise":
        _refuse_nobody(examples, names)
        _refuse_unknown(config, unknown, len(asked))
    trained = {name: counts[name] for name in asked if name not in unknown}
    if not trained:
        raise UserError(f"users leaves none of the {len(counts)} users of the data to train on; hold fewer out, or embed more")
    missing = {name: counts[name] for name in unknown} | ({NOBODY: names.count(None)} if None in names else {})
    tokens, width = (config.tokens, config.width) if samples is None else samples.size
    people = RunUsers(config, trained, {name: counts[name] for name in counts if name in out}, missing, samples, tokens, width)
    _check_encoder(config, people)
    _check_shown(people)
    return Chosen(examples, [place for place, name in enumerate(names) if name in trained or name == UNREAD]), people


def user_ids(examples: Sequence[Example]) -> list[str | None]:
    """The user of each example; None where there is none."""
    column = getattr(getattr(examples, "reader", None), "user_id", None)
    if isinstance(examples, Examples) and column in examples.columns:  # a column of text, without reading pictures
        return [None if absent(cell) else str(cell) for cell in examples.column(column)]
    return [_user_id(examples, place) for place in range(len(examples))]


def _user_id(examples: Sequence[Example], place: int) -> str | None:
    try:
        return examples[place].user_id or None
    except UserError:
        return UNREAD


def _refuse_nobody(examples: Sequence[Example], names: Sequence[str | None]) -> None:
    for place, name in enumerate(names):
        if name is None:
            origin, missing = examples[place].origin or f"row {place}", names.count(None)
            remedy = "name the column, as in data.columns {user_id: voter}, or leave such rows out (users.on_missing skip)"
            raise UserError(
                f"{origin} has no user_id, as have {missing - 1} others of {len(names)}, but there is a section users; {remedy}"
            )


def _samples(config: UsersConfig, names: Sequence[str]) -> UserSamples | None:
    """Embeddings that are not trained, of these users or of those in the file; None = a table."""
    if config.embeddings == TABLE:
        return None
    if config.embeddings == ONE_HOT:
        return UserSamples({name: row[None, None] for name, row in zip(names, torch.eye(len(names)), strict=True)})
    return UserSamples.load(Path(config.embeddings).expanduser())


def _refuse_unknown(config: UsersConfig, unknown: Sequence[str], users: int) -> None:
    if unknown:
        remedy = "embed them too (`mmalign users embed`), name them in users.held_out, or leave their rows out (users.on_missing skip)"
        raise UserError(f"{config.embeddings} has no embedding of {len(unknown)} of the {users} users: {some(unknown)}; {remedy}")


def _check_encoder(config: UsersConfig, people: RunUsers) -> None:
    """Raises UserError where the encoder that goes with the result is not there, or makes embeddings of another size."""
    if config.encoder is None:
        return
    path = config.encoder.expanduser() / ENCODER_FILE
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        made = said["tokens"], said["width"]
        identity = said.get("identity")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"users.encoder: {path} cannot be read ({error}); give a folder that `mmalign users fit` wrote") from error
    if made != (people.tokens, people.width):
        known = f"{config.embeddings} holds {(people.tokens, people.width)}"
        raise UserError(f"users.encoder makes embeddings of (tokens, width) {made}, but {known}; give the encoder that made them")
    by = people.samples.about.get("identity") if people.samples is not None else None
    if None not in (by, identity) and by != identity:
        raise UserError(f"users.encoder: {config.encoder} is another encoder than made {config.embeddings}; give the one that made them")


def _check_shown(people: RunUsers) -> None:
    known = list(people.trained if people.samples is None else people.samples)
    for name in people.config.shown or ():
        if name not in known:
            raise UserError(f"users.shown has {name!r}, of whom there is no embedding; {plugins.nearest(name, known)}")


def some(names: Sequence[str]) -> str:
    """The first few names, and that there are more."""
    return ", ".join(names[:NAMED]) + (" ..." if len(names) > NAMED else "")
