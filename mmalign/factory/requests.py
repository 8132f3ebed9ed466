"""What is to be drawn: prompts by models by seeds, each picture with a row of its own, and rows in batches and shards."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

from mmalign.config.generate import DrawsConfig
from mmalign.training.order import derived_seed

PICTURES, CLIPS = 128, 8
"""In a shard, unless said."""


class Request(NamedTuple):
    """One picture.

    Attributes:
        row: its number among all rows.
        model: number of the model.
        prompt, seed: what the user calls it.
    """

    row: int
    model: int
    prompt: str
    seed: int

    @property
    def noise_seed(self) -> int:
        """What the noise is drawn from: of prompt and seed alone, so that a picture does not change with what stands beside it."""
        return derived_seed(self.seed, self.prompt)


def prompt_id(prompt: str) -> str:
    """A name for a prompt, of its text alone: 16 hexadecimal digits."""
    return blake2b(prompt.encode(errors="replace"), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Block:
    """Neighboring rows of one model."""

    model: int
    start: int
    stop: int


class Plan:
    """All pictures of a run: model by model, and within one prompt by prompt and seed by seed.

    Shards hold whole batches of one model, and a batch is a function of its rows' numbers alone. So a picture has the same batch-mates
    whatever process draws it and wherever a run was stopped.

    Args:
        prompts: each once.
        config: the models, seeds and sizes.
        films: whether a model draws films: a clip without loss takes up to a hundred times what a picture does.
    """

    def __init__(self, prompts: Sequence[str], config: DrawsConfig, films: bool = False):
        shard = config.shard_size or (CLIPS if films else PICTURES)
        self.prompts, self._seeds, self._first = prompts, config.seeds_per_prompt, config.seed
        self.per_model = len(prompts) * config.seeds_per_prompt
        self.batches = [config.batch_of(model) for model in config.models]
        self.shards = [
            Block(number, start, min(start + size, self.per_model))
            for number, batch in enumerate(self.batches)
            for size in [-(-shard // batch) * batch]
            for start in range(0, self.per_model, size)
        ]

    @property
    def sizes(self) -> list[int]:
        """How many pictures each shard has."""
        return [shard.stop - shard.start for shard in self.shards]

    def batches_of(self, number: int) -> Iterator[list[Request]]:
        """The batches of a shard."""
        shard = self.shards[number]
        step = self.batches[shard.model]
        for start in range(shard.start, shard.stop, step):
            yield [self._request(shard.model, place) for place in range(start, min(start + step, shard.stop))]

    def _request(self, model: int, place: int) -> Request:
        index, draw = divmod(place, self._seeds)
        return Request(model * self.per_model + place, model, self.prompts[index], self._first + draw)
