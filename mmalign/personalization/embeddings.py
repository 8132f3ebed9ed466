"""Embeddings of users by name: kept in one file, mixed, and interpolated."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mmalign import plugins
from mmalign.errors import UserError
from mmalign.files import write_whole

User = str | Tensor | Mapping[str, float] | None
"""A user: by name, by embedding (T, W), as a mixture of names with weights, or nobody."""


@dataclass(frozen=True)
class UserRows:
    """The users of a batch, one row each.

    Attributes:
        embeddings: (R, T, W).
        present: (R,), false for nobody; None = all are there.
    """

    embeddings: Tensor
    present: Tensor | None = None


class UserEmbeddings(Mapping[str, Tensor]):
    """Names and their embeddings, each (T, W) float32: T tokens of W numbers. PPD's are the layers of a model, (layers, width).

    Raises:
        UserError: shapes differ, or a number is not finite; the message names the user.
    """

    def __init__(self, embeddings: Mapping[str, Tensor]):
        self._of = {name: embedding.detach().float().cpu() for name, embedding in embeddings.items()}
        first = next(iter(self._of.items()), None)
        for name, embedding in self._of.items():
            if embedding.ndim != 2 or embedding.shape != first[1].shape:
                said = f"{tuple(embedding.shape)}, that of {first[0]!r} {tuple(first[1].shape)}"
                raise UserError(f"the embedding of user {name!r} is {said}; all are (tokens, width) of one size")
            if not torch.isfinite(embedding).all():
                raise UserError(f"the embedding of user {name!r} has a number that is not finite; make it again")

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._of:
            raise UserError(f"there is no user {name!r}; {plugins.nearest(name, list(self._of)) if self._of else 'none is there yet'}")
        return self._of[name]

    def __contains__(self, name: object) -> bool:
        return name in self._of

    def __iter__(self) -> Iterator[str]:
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)

    def mixed(self, weights: Mapping[str, float]) -> Tensor:
        """The weighted sum of users' embeddings (T, W); PPD moves between rewards by weights that add up to one (arXiv 2501.06655).

        Raises:
            UserError: an unknown user, or no user at all.
        """
        if not weights:
            raise UserError("a mixture of no users is nobody; name one, as in {'ann': 0.3, 'ben': 0.7}")
        return torch.stack([weight * self[name] for name, weight in weights.items()]).sum(0)

    def between(self, first: str, second: str, share: float) -> Tensor:
        """A point on the line from one user (share 0) to another (share 1), (T, W)."""
        return self.mixed({first: 1 - share, second: share}) if first != second else self[first]

    def having(self, name: str, embedding: Tensor) -> "UserEmbeddings":
        """The same users and one more, or one of that name replaced."""
        return UserEmbeddings({**self._of, name: embedding})

    def save(self, path: str | Path) -> None:
        """Writes all users into one safetensors file, whole or not at all."""
        write_whole(path, save(self._of, {"users": json.dumps(list(self._of))}))

    @classmethod
    def load(cls, path: str | Path) -> "UserEmbeddings":
        """Reads what ``save`` wrote. Raises UserError where the file holds no users."""
        try:
            with safe_open(path, "pt") as file:
                names = json.loads((file.metadata() or {})["users"])
                return cls({name: file.get_tensor(name) for name in names})
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise UserError(f"{path} cannot be read as embeddings of users ({error}); give a file that mmalign wrote") from error
