"""Encoded preferences as a data set: rows of cached tensors, and how rows become a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mmalign.data.buckets import Buckets, Size
from mmalign.data.cache import TensorCache
from mmalign.data.digest import digest
from mmalign.diffusion.policy import DiffusionBatch
from mmalign.diffusion.users import RowUsers, joined
from mmalign.policy import Labels
from mmalign.training.fixed_draws import FixedDraws
from mmalign.training.order import generator
from mmalign.training.people import RunUsers

CONDITIONING = "conditioning."


def tokens_key(prompt: str) -> str:
    """The key of a prompt's tokens, from that of its embeddings."""
    return digest("tokens", prompt)


@dataclass(frozen=True)
class Row:
    """One example's keys in the cache, its labels, the window that its images are cut to, where that is no square, its user,
    and the mark of the prompt that the user chose under."""

    prompt: str
    images: tuple[str, ...]
    flipped: tuple[str, ...]
    origin: str
    weight: float
    preference: float = 1.0
    ranks: tuple[int, ...] | None = None
    scores: tuple[float, ...] | None = None
    window: Size | None = None
    user: str | None = None
    mark: str = ""

    @property
    def all_images(self) -> tuple[str, ...]:
        """The keys of its images, those of the mirrored ones too."""
        return (*self.images, *self.flipped)

    def labels(self) -> Labels:
        """The row's labels, as a batch of one; without ranks the candidates stand in order."""
        count = len(self.images)
        ranks = range(count) if self.ranks is None else self.ranks
        scores = (float("nan"),) * count if self.scores is None else self.scores
        return Labels(torch.tensor([self.preference]), torch.tensor([list(ranks)]), torch.tensor([scores]))


class Draw(NamedTuple):
    """What a row is met with: the keys of prompt and images and, where that is the same in every run, the seed and the errors' key."""

    prompt: str
    images: tuple[str, ...]
    seed: int = 0
    key: str = ""


class Caches:
    """Several caches as one to read from."""

    def __init__(self, *caches: "TensorCache | Caches"):
        self.caches = caches

    def __contains__(self, key: str) -> bool:
        return any(key in cache for cache in self.caches)

    def get(self, key: str) -> dict[str, Tensor]:
        """The tensors under a key. Raises KeyError where nothing is stored."""
        return next((cache for cache in self.caches if key in cache), self.caches[-1]).get(key)


class EncodedExamples(Dataset):
    """Rows of cached tensors, addressed by (row, position) so that caption dropout and flips follow from the position alone.

    Args:
        rows: keys of the examples, by what addresses them.
        cache: where the tensors are.
        empty_prompt: key of the empty prompt's embeddings.
        caption_dropout: share of draws in which the prompt is left empty, for all candidates of the row.
        seed: the run's seed.
        places: for each row the place of its example among those that were encoded; None = all were, in their order.
        buckets: which rows have which window; None = all have the square.
        draws: which draws the rows meet, whatever the run; None = they follow from the position.
        people: whom the rows are for; None = nobody asks.
        tokens: whether rows come with the tokens of their prompts, for text encoders that are trained.
    """

    def __init__(
        self,
        rows: Sequence[Row] | Mapping[int, Row],
        cache: TensorCache | Caches,
        empty_prompt: str,
        caption_dropout: float,
        seed: int,
        places: Sequence[int] | None = None,
        buckets: Buckets | None = None,
        draws: FixedDraws | None = None,
        people: RunUsers | None = None,
        tokens: bool = False,
    ):
        self.rows, self.cache, self.empty_prompt, self.caption_dropout, self.seed = rows, cache, empty_prompt, caption_dropout, seed
        self.places, self.buckets = range(len(rows)) if places is None else places, buckets
        self.draws, self.people, self.tokens = draws, people, tokens

    def over(self, rows: Mapping[int, Row], cache: TensorCache) -> "EncodedExamples":
        """Other rows, some of whose tensors are in another cache."""
        return EncodedExamples(rows, Caches(self.cache, cache), self.empty_prompt, self.caption_dropout, self.seed, tokens=self.tokens)

    def digest(self) -> str:
        """Tells data sets apart: prompts, images, preprocessing, encoders, labels, weights, order and, where there are any, users."""
        rows = [[row.prompt, row.images, row.flipped, row.weight, row.preference, row.ranks, row.scores] for row in self.rows]
        return digest(rows) if self.people is None else digest(rows, [row.user for row in self.rows], self.people.digest())

    def __len__(self) -> int:
        return len(self.rows)

    def drawn(self, index: int, epoch: int) -> Draw:
        """What a row meets in an epoch, where its draws are fixed."""
        row, number = self.rows[index], epoch % self.draws.count
        seed = self.draws.seed((row.prompt, *row.images), number)
        prompt, images = self._augmented(row, generator(seed, "augment"))
        return Draw(prompt, images, seed, self.draws.key(seed, prompt, images))

    def _augmented(self, row: Row, source: torch.Generator) -> tuple[str, tuple[str, ...]]:
        """The keys of the prompt and of the images, after caption dropout and flips."""
        dropped, flipped = torch.rand(2, generator=source).tolist()
        prompt = self.empty_prompt if dropped < self.caption_dropout else row.prompt
        return prompt, row.flipped if row.flipped and flipped < 0.5 else row.images

    def _user(self, row: Row, position: int, draw: Draw) -> RowUsers | None:
        """What the row's user is known by in this draw."""
        if self.people is None:
            return None
        source = generator(self.seed, "user", position) if self.draws is None else generator(draw.seed, "user")
        return self.people.drawn(str(row.user), source, row.mark)

    def __getitem__(self, item: tuple[int, int]) -> DiffusionBatch:
        """A batch of one row."""
        index, position = item
        row = self.rows[index]
        if self.draws is None:
            draw = Draw(*self._augmented(row, generator(self.seed, "augment", position)))
        else:
            draw = self.drawn(index, position // len(self.rows))
        images = [self.cache.get(key) for key in draw.images]
        stacked = {name: torch.stack([image[name] for image in images])[None] for name in images[0]}
        return DiffusionBatch(
            latent_mean=stacked.pop("mean"),
            latent_std=stacked.pop("std"),
            prompt_conditioning={name: value[None] for name, value in self.cache.get(draw.prompt).items()},
            image_conditioning={name.removeprefix(CONDITIONING): value for name, value in stacked.items()},
            origins=(row.origin,),
            weights=torch.tensor([row.weight]),
            positions=(position,),
            labels=row.labels(),
            seeds=() if self.draws is None else (draw.seed,),
            keys=() if self.draws is None else (draw.key,),
            users=self._user(row, position, draw),
            tokens={name: value[None] for name, value in self.cache.get(tokens_key(draw.prompt)).items()} if self.tokens else {},
        )


def collate(rows: Sequence[DiffusionBatch]) -> DiffusionBatch:
    """Rows of one as one batch; those with fewer candidates than others are padded."""
    lengths = tuple(row.latent_mean.shape[1] for row in rows)
    return DiffusionBatch(
        latent_mean=_padded([row.latent_mean for row in rows]),
        latent_std=_padded([row.latent_std for row in rows]),
        prompt_conditioning={name: _longest([row.prompt_conditioning[name] for row in rows]) for name in rows[0].prompt_conditioning},
        image_conditioning={name: _padded([row.image_conditioning[name] for row in rows]) for name in rows[0].image_conditioning},
        origins=tuple(origin for row in rows for origin in row.origins),
        weights=torch.cat([row.weights for row in rows]),
        positions=tuple(position for row in rows for position in row.positions),
        labels=_labels([row.labels for row in rows]),
        lengths=lengths if len(set(lengths)) > 1 else (),
        seeds=tuple(seed for row in rows for seed in row.seeds),
        keys=tuple(key for row in rows for key in row.keys),
        users=joined([row.users for row in rows]),
        tokens={name: torch.cat([row.tokens[name] for row in rows]) for name in rows[0].tokens},
    )


def _padded(parts: Sequence[Tensor], value: float = 0) -> Tensor:
    """Tensors (1, K, ...) as one (B, K, ...) with the largest K."""
    return torch.nn.utils.rnn.pad_sequence([part[0] for part in parts], batch_first=True, padding_value=value)


def _longest(parts: Sequence[Tensor]) -> Tensor:
    """What follows from prompts, (1, L, ...) each, as one (B, L, ...) with the largest L; families of several lengths bring a mask."""
    if len({part.shape for part in parts}) == 1:
        return torch.cat(list(parts))
    return torch.nn.utils.rnn.pad_sequence([part[0] for part in parts], batch_first=True)


def _labels(rows: Sequence[Labels | None]) -> Labels | None:
    if any(row is None for row in rows):
        return None
    ranks = _padded([row.ranks for row in rows], max(row.ranks.shape[1] for row in rows))
    scores = None if any(row.scores is None for row in rows) else _padded([row.scores for row in rows], torch.nan)
    return Labels(torch.cat([row.preferences for row in rows]), ranks, scores)
