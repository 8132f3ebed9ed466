"""The reference's errors on draws that are the same in every run, computed once for each.

With fixed draws, the noise, the timestep and the VAE sample that a row meets follow from the row and the number of a draw alone, and its
epochs go through the draws in turn. What the reference says of one is then a constant, for every method that compares the same candidates,
every run of a sweep and every epoch that comes back to the draw. It is computed on each row alone, so that it depends on no batch.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmalign.data.cache import Entry, TensorCache
from mmalign.data.digest import digest
from mmalign.diffusion.policy import DenoisingInputs, DiffusionPolicy, Reference
from mmalign.errors import UserError
from mmalign.objective import Objective
from mmalign.training.order import derived_seed

ERRORS = "errors"
AT_ONCE = 256
"""Rows that are written together: what a kill can lose."""


@dataclass(frozen=True)
class FixedDraws:
    """How many draws a row has, and what the reference's errors on them depend on beside the row.

    Attributes:
        count: draws of a row.
        told: a digest of the reference, of how it is asked, and of how noise is added.
    """

    count: int
    told: str

    def seed(self, row: Sequence[str], draw: int) -> int:
        """What seeds a draw of a row, which is told by the keys of its prompt and its images. No run's seed is in it."""
        return derived_seed(0, "fixed", digest(list(row)), draw)

    def key(self, seed: int, prompt: str, images: Sequence[str]) -> str:
        """The key of the errors on a draw, for the prompt and the images that it was made with."""
        return digest(self.told, seed, prompt, list(images))


class CachedReference:
    """A strategy that looks errors up, and asks another one for those that are missing.

    Args:
        cache: where they are.
        live: turns the policy into its reference; None = the policy is it, as before training.
        module: the denoiser as it is in this process alone: what is asked differs between processes.

    Raises:
        UserError: errors are missing, and there is no reference to ask.
    """

    def __init__(self, cache: TensorCache, live: Reference | None, module: nn.Module):
        self.cache, self.live, self.module = cache, live or _unchanged, module
        self._new: dict[str, Entry] = {}

    @contextmanager
    def __call__(self, policy: DiffusionPolicy) -> Iterator[None]:
        def errors(inputs: DenoisingInputs) -> Tensor:
            found = [self._row(policy, inputs, index, key) for index, key in enumerate(inputs.keys)]
            return torch.nn.utils.rnn.pad_sequence(found, batch_first=True).to(inputs.noisy.device, non_blocking=True)

        with policy.answering(errors):
            yield

    def _row(self, policy: DiffusionPolicy, inputs: DenoisingInputs, index: int, key: str) -> Tensor:
        if key not in self._new:
            if key in self.cache:
                return self.cache.get(key)[ERRORS]
            with torch.no_grad(), policy.answering(None), policy.using(self.module), self.live(policy):
                self._new[key] = {ERRORS: policy.errors(inputs.row(index))[0].cpu()}
            if len(self._new) >= AT_ONCE:
                return self.flush()[key][ERRORS]
        return self._new[key][ERRORS]

    def flush(self) -> dict[str, Entry]:
        """Writes what is new, and gives it."""
        written, self._new = self._new, {}
        self.cache.put(written)
        return written


def _unchanged(policy: DiffusionPolicy) -> AbstractContextManager[None]:
    return nullcontext()


def gone(policy: DiffusionPolicy) -> AbstractContextManager[None]:
    """In place of a reference that nothing was to be asked of.

    Raises:
        UserError: something is missing.
    """
    raise UserError("reference errors that were in data.cache_dir at the start are gone; resume, and they are computed again")


def check_errors_suffice(objective: Objective, draws: int) -> None:
    """Raises UserError where there are fixed draws and the method asks its reference for more than errors."""
    if draws and objective.needs_reference and objective.compares_residuals:
        raise UserError(
            f"data.reference_draws keeps the reference's errors, but {type(objective).__name__} compares its predictions, "
            "which are as large as the latents; set data.reference_draws to 0 or choose another method"
        )
