"""A base and its personal self in one pipeline: the base's pictures, and those that one person or another would like better."""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from mmalign.diffusion.aligned import LORA_FILE, Aligned
from mmalign.diffusion.family import DiffusionFamily
from mmalign.errors import UserError
from mmalign.personalization.conditioner import FILE, UserConditioner
from mmalign.personalization.denoiser import keyword
from mmalign.personalization.embeddings import User
from mmalign.users.encoder import UserEncoder, load_encoder

ENCODER = "user_encoder"
"""Folder, in that of a run, of what embeds new people."""
LIST = "users.json"
"""File, in that of a run, of who was trained on and who was held out."""


class Personal:
    """Draws with the base, or for people with what a run with ``users`` has made of it.

    Attributes:
        conditioner: its ``users`` are known by name; its ``scale`` is the strength.

    Args:
        family: the base, bound to its pipeline.
        folder: the run's: a conditioner, and a LoRA or a whole denoiser where one was trained with it.
        **call: how to sample, see ``DiffusionFamily.sample``.

    Raises:
        UserError: the folder holds no conditioner, or what it holds belongs to another model.
    """

    def __init__(self, family: DiffusionFamily, folder: str | Path, **call: Any):
        self.family, self.folder, self.call = family, Path(folder), call
        if not (self.folder / FILE).is_file():
            raise UserError(f"{folder} holds no {FILE}; give the output folder of a training run with the section users")
        self.conditioner = UserConditioner.load(self.folder)
        trained = (self.folder / LORA_FILE).is_file() or (self.folder / family.denoiser_name).is_dir()
        self._aligned = Aligned(family, self.folder, **call) if trained else None
        try:
            with self._switched():
                self.conditioner.attach(family.pipe)
        except UserError:
            self.close()
            raise

    @cached_property
    def encoder(self) -> UserEncoder | None:
        """What embeds new people, opened when it is first asked for; None where the run has none. Raises UserError as ``load_encoder``."""
        place = self.folder / ENCODER
        return load_encoder(place) if place.is_dir() else None

    def base(self, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """Pictures (N, 3, H, W) in [0, 1] by the base."""
        return self.family.sample(prompts, seeds, batch_size=len(prompts), **self.call)

    def personal(self, prompts: Sequence[str], seeds: Sequence[int], users: Sequence[User]) -> Tensor:
        """Pictures (N, 3, H, W) in [0, 1] from the noise of the same seeds, each for its user.

        Args:
            users: one for each prompt: a name, an embedding, a mixture, or None for nobody.

        Raises:
            UserError: another number of users than of prompts, or an unknown one.
        """
        if len(users) != len(prompts):
            raise UserError(f"there are {len(users)} users for {len(prompts)} prompts; give one for each")
        with self._switched():
            told = {keyword(self.family.denoiser): {"user": list(users)}}
            return self.family.sample(prompts, seeds, batch_size=len(prompts), **self.call, **told)

    def close(self) -> None:
        """Gives the pipeline back as it was."""
        self.conditioner.detach()
        if self._aligned is not None:
            self._aligned.close()

    def _switched(self) -> Any:
        """Inside it, the pipeline is what the run has made of it."""
        return nullcontext() if self._aligned is None else self._aligned.switched()
