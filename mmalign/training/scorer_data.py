"""Preferences as a scorer reads them: images prepared in the loader, prompts as tokens, labels as probabilities and ranks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from mmalign.data import Examples
from mmalign.data.digest import digest
from mmalign.data.schema import Example
from mmalign.errors import UserError
from mmalign.images import open_image
from mmalign.objective import Objective
from mmalign.prefetch import prefetch
from mmalign.scorers.policy import ScorerBatch
from mmalign.training.preferences import check_candidates, check_label, ranks_of

Prepare = Callable[[Image.Image], Tensor]
Tokenize = Callable[[list[str]], Tensor]

AHEAD = 64  # rows prepared before they are asked for
THREADS = 4


@dataclass(frozen=True)
class ScorerRow:
    """One example: pixels (K, 3, S, S) and ranks (K,) of its candidates, and what else a batch needs of it."""

    pixels: Tensor
    ranks: Tensor
    prompt: str
    preference: float
    weight: float
    origin: str
    position: int = 0


class ScorerRows(Dataset):
    """Examples that are opened and prepared when asked for, addressed by (row, position).

    Args:
        examples: the preferences.
        prepare: makes the model's pixels of an upright RGB image.
        objective: the method whose labels and numbers of candidates are checked; None = none are, as for an evaluation.
    """

    def __init__(self, examples: Sequence[Example], prepare: Prepare, objective: Objective | None = None):
        self.examples, self.prepare, self.objective = examples, prepare, objective
        self._kept: list[ScorerRow] | None = None

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, item: tuple[int, int]) -> ScorerRow:
        index, position = item
        row = self._read(index) if self._kept is None else self._kept[index]
        return replace(row, position=position)

    def keep(self, progress: bool = True) -> "ScorerRows":
        """Prepares all rows now, in threads, and holds them in memory."""
        rows = prefetch(self._read, range(len(self)), THREADS, AHEAD)
        self._kept = list(tqdm(rows, total=len(self), desc="preparing images", disable=not progress))
        return self

    def digest(self) -> str:
        """Tells sets of preferences apart by their labels and, where they are in memory, their prompts; images are not read."""
        if isinstance(self.examples, Examples):
            return self.examples.digest()
        return digest([[example.prompt, len(example.images), example.preference, example.weight] for example in self.examples])

    def _read(self, index: int) -> ScorerRow:
        example = self.examples[index]
        if self.objective is not None:
            check_candidates(self.objective, example)
            check_label(self.objective, example)
        pixels = [self.prepare(open_image(source, example.origin)) for source in example.images]
        return ScorerRow(
            torch.stack(pixels), torch.tensor(ranks_of(example)), example.prompt, example.preference, example.weight, example.origin
        )


class Collate:
    """Rows with equally many candidates as one batch.

    Args:
        tokenize: makes token ids (B, L) of prompts.
    """

    def __init__(self, tokenize: Tokenize):
        self.tokenize = tokenize

    def __call__(self, rows: Sequence[ScorerRow]) -> ScorerBatch:
        """The batch. Raises UserError where the numbers of candidates differ."""
        for row in rows:
            if len(row.pixels) != len(rows[0].pixels):
                counts = f"{len(row.pixels)} candidates, {rows[0].origin} {len(rows[0].pixels)}"
                raise UserError(f"{row.origin} has {counts}; train on lists of one length, or with train.train_batch_size 1")
        return ScorerBatch(
            pixels=torch.stack([row.pixels for row in rows]),
            tokens=self.tokenize([row.prompt for row in rows]),
            preferences=torch.tensor([row.preference for row in rows]),
            ranks=torch.stack([row.ranks for row in rows]),
            weights=torch.tensor([row.weight for row in rows]),
            origins=tuple(row.origin for row in rows),
            positions=tuple(row.position for row in rows),
        )

    def groups(self, rows: Sequence[ScorerRow]) -> list[ScorerBatch]:
        """Rows of any lengths as one batch for each length."""
        return list(self._groups(rows))

    def _groups(self, rows: Sequence[ScorerRow]) -> Iterator[ScorerBatch]:
        for count in sorted({len(row.pixels) for row in rows}):
            yield self([row for row in rows if len(row.pixels) == count])
