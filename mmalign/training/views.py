"""Examples as a method takes them: as they are, winners alone, or pairs taken apart."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import overload

from mmalign.data.broken import first_readable
from mmalign.data.schema import Example, PromptOnly
from mmalign.errors import UserError
from mmalign.objective import Objective


class View(Sequence[Example]):
    """Examples that are made of others when asked for."""

    def __init__(self, examples: Sequence[Example]):
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...
    def __getitem__(self, index):
        places = range(len(self))[index]
        return self.at(places) if isinstance(places, int) else [self.at(place) for place in places]

    @abstractmethod
    def at(self, index: int) -> Example:
        """The example at a place from 0 on."""


class Chosen(View):
    """Some of the examples, by their places."""

    def __init__(self, examples: Sequence[Example], places: Sequence[int]):
        super().__init__(examples)
        self.places = places

    def __len__(self) -> int:
        return len(self.places)

    def at(self, index: int) -> Example:
        return self.examples[self.places[index]]


class Winners(View):
    """The preferred candidate of each example, alone."""

    def at(self, index: int) -> Example:
        example = self.examples[index]
        return replace(example, images=example.images[:1], scores=example.scores and example.scores[:1])


class Prompts(View):
    """The prompt of each example, alone: its pictures are drawn."""

    def at(self, index: int) -> Example:
        example = self.examples[index]
        return PromptOnly(example.prompt, weight=example.weight, origin=example.origin)


class Singles(View):
    """Each candidate of a pair for itself, the preferred one with the score 1 and the other with 0; what is single stays as it is.

    Raises:
        UserError: an example is a list, or has another number of candidates than the first.
    """

    def __init__(self, examples: Sequence[Example]):
        super().__init__(examples)
        self.first = first_readable(examples)
        self.each = len(self.first.images)
        if self.each > 2:
            raise UserError(f"{self.first.origin} has {self.each} candidates; give single pictures with labels, or pairs")

    def __len__(self) -> int:
        return self.each * len(self.examples)

    def at(self, index: int) -> Example:
        example, place = self.examples[index // self.each], index % self.each
        if len(example.images) != self.each:
            count, first = len(example.images), self.first.origin
            raise UserError(f"{example.origin} has {count} candidates, {first} has {self.each}; train on one kind at a time")
        return example if self.each == 1 else replace(example, images=(example.images[place],), scores=(1.0 - place,))


def taken(objective: Objective, examples: Sequence[Example]) -> Sequence[Example]:
    """The examples as the method takes them."""
    kinds = {"winners": Winners, "singles": Singles}
    return kinds[objective.takes](examples) if objective.takes in kinds else examples
