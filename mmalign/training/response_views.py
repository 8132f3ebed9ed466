"""Preferences among responses as a method takes them: as they are, or pairs taken apart; and which row answers another prompt."""

from collections.abc import Sequence
from dataclasses import replace
from typing import overload

from mmalign.data.digest import digest
from mmalign.data.responses import ResponseExample
from mmalign.data.responses.load import ResponseExamples
from mmalign.errors import UserError
from mmalign.objective import Objective


class Singles(Sequence[ResponseExample]):
    """Each response of a pair for itself, the preferred one with the score 1 and the other with 0; what is single stays as it is.

    Raises:
        UserError: a row is a list, or has another number of responses than the first.
    """

    def __init__(self, examples: Sequence[ResponseExample]):
        self.examples, self.each = examples, len(examples[0].responses)
        if self.each > 2:
            raise UserError(f"{examples[0].origin} has {self.each} responses; give single responses with labels, or pairs")

    def __len__(self) -> int:
        return self.each * len(self.examples)

    @overload
    def __getitem__(self, index: int) -> ResponseExample: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ResponseExample]: ...
    def __getitem__(self, index):
        places = range(len(self))[index]
        return self._at(places) if isinstance(places, int) else [self._at(place) for place in places]

    def _at(self, index: int) -> ResponseExample:
        example, place = self.examples[index // self.each], index % self.each
        if len(example.responses) != self.each:
            count, first = len(example.responses), self.examples[0].origin
            raise UserError(f"{example.origin} has {count} responses, {first} has {self.each}; train on one kind at a time")
        if self.each == 1:
            return example
        phrases = example.phrases and (example.phrases[place],)
        return replace(example, responses=(example.responses[place],), phrases=phrases, scores=(1.0 - place,))


def taken(objective: Objective, examples: Sequence[ResponseExample]) -> Sequence[ResponseExample]:
    """The examples as the method takes them."""
    return Singles(examples) if objective.takes == "singles" else examples


def mismatched(examples: Sequence[ResponseExample], index: int) -> ResponseExample:
    """The next row, the first after the last, that is about something else; of pairs taken apart one of the same side.

    KTO's code makes its mismatched pairs so: each prompt with the response of its neighbor in the data.

    Raises:
        UserError: all rows have one prompt.
    """
    own, step = examples[index], examples.each if isinstance(examples, Singles) else 1
    for place in range(index + step, index + len(examples), step):
        other = examples[place % len(examples)]
        if (other.turns, other.images, other.videos) != (own.turns, own.images, own.videos):
            return other
    raise UserError(f"no row has another prompt than {own.origin}, whose response could be compared; set method.baseline batch")


def told(examples: Sequence[ResponseExample]) -> str:
    """Tells sets of preferences apart by their texts and labels, or by their source; pictures are not read."""
    if isinstance(examples, Singles):
        return digest("singles", told(examples.examples))
    if isinstance(examples, ResponseExamples):
        return examples.digest()
    rows = [[list(map(str, e.turns)), e.responses, e.phrases, e.contrast, e.preference, e.weight, e.scores] for e in examples]
    return digest(rows)
