"""What is trained for people: the conditioner, with the users' table where there is one, beside what is trained in the denoiser."""

import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmalign.errors import UserError
from mmalign.files import write_whole
from mmalign.personalization import UserConditioner, UserEmbeddings
from mmalign.personalization.denoiser import keyword
from mmalign.personalization.embeddings import UserRows
from mmalign.training.order import derived_seed
from mmalign.training.people import RunUsers
from mmalign.training.prompted import PromptedDenoiser
from mmalign.training.trainable import Trainable
from mmalign.users.personal import ENCODER, LIST

KEPT = 2**20
"""Numbers of embeddings, 4 MiB, up to which those of a file are kept with the conditioner; PPD's, of 100,000 each, stay in theirs."""
SHOWN = 3


class PersonalDenoiser(nn.Module):
    """A denoiser and the conditioner attached to it as one module, so that whatever wraps, averages or clips it reaches both.

    Args:
        denoiser: as it is trained, perhaps with text encoders.
        conditioner: attached to it.
        table: (users, T, W), trained; None = users come as embeddings.
    """

    def __init__(self, denoiser: nn.Module, conditioner: UserConditioner, table: Tensor | None):
        super().__init__()
        self.denoiser, self.conditioner = denoiser, conditioner
        bare = denoiser.denoiser if isinstance(denoiser, PromptedDenoiser) else denoiser
        self.table = None if table is None else nn.Parameter(table.to(bare.device))
        self.keyword = keyword(bare)

    def forward(self, *args: Any, user: Tensor | None = None, present: Tensor | None = None, **kwargs: Any) -> Any:
        """The denoiser's answer, for users where they are given: embeddings (N, T, W) or places in the table (N,), one for each sample."""
        if user is None:
            return self.denoiser(*args, **kwargs)
        rows = UserRows(user if self.table is None else self.table[user], present)
        told = {**(kwargs.pop(self.keyword, None) or {}), "user": rows}
        return self.denoiser(*args, **kwargs, **{self.keyword: told})


class PersonalTraining:
    """The conditioner beside an adapter, all weights, or a frozen denoiser; the reference is theirs, and is told of no user.

    Args:
        inner: what is trained in the denoiser, made before: a LoRA that is added later would freeze nothing here, but a copy made later
            would have the conditioner.
        people: whom the rows are for.
        seed: of the first weights.

    Raises:
        UserError: the denoiser takes no conditioner.
    """

    def __init__(self, inner: Trainable, people: RunUsers, seed: int):
        self.inner, self.people, self.reference = inner, people, inner.reference
        family, pipe = inner.family, inner.family.pipe
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(derived_seed(seed, "conditioner"))  # layers draw their first weights from the global generator
                made = UserConditioner.fitting(family.denoiser, people.tokens, people.width, people.config.dim, spread=people.config.spread)
            self.conditioner = made.attach(pipe)
            table = people.first_table(derived_seed(seed, "table")) if people.samples is None else None
            self.module = PersonalDenoiser(inner.module, self.conditioner, table)
        except UserError:
            inner.remove()
            raise

    def embeddings(self) -> UserEmbeddings:
        """The embeddings of now: those of the table, or the first of each user's that are known."""
        if self.people.samples is not None:
            return self.people.samples.first()
        return UserEmbeddings(dict(zip(self.people.trained, self.module.table, strict=True)))

    def shown(self) -> dict[str, Tensor | None]:
        """For whom validation draws, by name: nobody first."""
        known = self.embeddings()
        names = list(self.people.trained)[:SHOWN] if self.people.config.shown is None else self.people.config.shown
        return {"nobody": None, **{name: known[name] for name in names}}

    @property
    def keeps_users(self) -> bool:
        """Whether the users are kept in the conditioner's file, so that they can be called by name."""
        people = self.people
        return not people.config.from_file or len(people.trained) * people.tokens * people.width <= KEPT

    def save(self, folder: Path) -> None:
        """Writes what the stock libraries read, and beside it ``user_conditioner.safetensors``, ``users.json`` and the encoder."""
        self.inner.save(folder)
        self._save_conditioner(folder)
        write_whole(folder / LIST, self.people.listed().encode())
        if self.people.config.encoder is not None:
            shutil.copytree(self.people.config.encoder.expanduser(), folder / ENCODER)

    def _save_conditioner(self, folder: Path) -> None:
        known = self.embeddings() if self.keeps_users else UserEmbeddings({})
        self.conditioner.users = UserEmbeddings({name: known[name] for name in self.people.trained if name in known})
        self.conditioner.save(folder)

    def save_state(self, folder: Path) -> None:
        """Writes the tensors that are trained in the denoiser, and those of the conditioner with the table, float32."""
        self.inner.save_state(folder)
        self._save_conditioner(folder)

    @torch.no_grad()
    def load_state(self, folder: Path) -> None:
        """Puts them back. Raises UserError where they are damaged or of another shape."""
        self.inner.load_state(folder)
        saved = UserConditioner.load(folder)
        fits = saved.shape == self.conditioner.shape and (self.module.table is None or list(saved.users) == list(self.people.trained))
        if not fits:
            raise UserError(f"the conditioner in {folder} has another shape or other users than this configuration; resume with its own")
        self.conditioner.load_state_dict(saved.state_dict())
        if self.module.table is not None:
            self.module.table.copy_(torch.stack(list(saved.users.values())))

    def constrain(self) -> None:
        """Puts what the denoiser's part must keep to back into its range."""
        self.inner.constrain()

    def remove(self) -> None:
        """Takes the conditioner off, and gives the denoiser back as it was."""
        self.conditioner.detach()
        self.inner.remove()
