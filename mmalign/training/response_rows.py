"""Preferences among responses as a vision-language model reads them: opened, tokenized and packed in the loader."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from itertools import groupby
from typing import Any

import torch
from PIL import Image
from torch.utils.data import Dataset

from mmalign.data.digest import digest
from mmalign.data.responses import ResponseExample
from mmalign.errors import UserError
from mmalign.images import open_image
from mmalign.policy import Candidate, Labels
from mmalign.training.order import generator
from mmalign.training.response_views import mismatched, told
from mmalign.vlm.batch import ResponseBatch, pack
from mmalign.vlm.encode import EncodedPrompt, PromptEncoder, Response
from mmalign.vlm.negatives import Make
from mmalign.vlm.shown import FilmReader, Shown

NUMBERS = {"chosen": 0, "rejected": 1, "own": 0}
"""Which of a row's responses a candidate has, by its name."""
RESPONSES = {*NUMBERS, "contrast", "another"}
PICTURES = {"image", "negative", "contrast"}
"""What candidates of rows may be made of: contrasting pictures are a row's negatives, with a right response of their own."""
SHRINK = 0.8
"""What the sides of a row's pictures are multiplied by until it fits."""
SMALLEST = 56
"""Pixels below which a picture is not made smaller."""


@dataclass(frozen=True)
class ResponseRow:
    """A row as tokens: its prompts, one for each set of pictures, with their candidates, and what else a batch needs of it."""

    prompts: tuple[EncodedPrompt, ...]
    labels: Labels
    weight: float
    origin: str
    position: int = 0
    key: str = ""


class ResponseRows(Dataset):
    """Examples that are opened and tokenized when asked for, addressed by (row, position).

    Args:
        examples: the preferences.
        encoder: makes tokens of prompts and responses.
        max_length: most tokens of a row; None = any.
        options: of the processor.
        keyed: tell rows by a digest of their tokens and pictures, so that what was computed of them can be found again.
        candidates: picture and response of each candidate; empty = every response under the row's own pictures.
        negatives: how pictures in place of the row's own are made; None = they are those of the data.
        seed: decides what is drawn for a row, once for all epochs.
        films: which frames of films are looked at; None = eight of each, as a film.
    """

    def __init__(
        self,
        examples: Sequence[ResponseExample],
        encoder: PromptEncoder,
        max_length: int | None = None,
        options: Mapping[str, Any] | None = None,
        keyed: bool = False,
        candidates: Sequence[Candidate] = (),
        negatives: Make | None = None,
        seed: int = 0,
        films: FilmReader | None = None,
    ):
        self.examples, self.encoder, self.max_length, self.options = examples, encoder, max_length, dict(options or {})
        self.keyed, self.candidates, self.negatives, self.seed, self.films = (
            keyed,
            tuple(candidates),
            negatives,
            seed,
            films or FilmReader(),
        )

    def __len__(self) -> int:
        return len(self.examples)

    def digest(self) -> str:
        """Tells sets of preferences apart by their texts and labels, or by their source; pictures are not read."""
        return digest(told(self.examples), self.max_length, self.options, astuple(self.films))

    def __getitem__(self, item: tuple[int, int]) -> ResponseRow:
        index, position = item
        example = self.examples[index]
        prompts = [self._fitting(example, self._shown(example, picture, index), said) for picture, said in self._groups(example, index)]
        # a row that cannot be made to fit takes part with no weight, so that the order of all others stays
        weight = example.weight if all(map(self._fits, prompts)) else 0.0
        if not weight:
            prompts = [shortened(prompt, self.max_length or 0) for prompt in prompts]
        key = key_of(prompts) if self.keyed else ""
        return ResponseRow(tuple(prompts), labels_of(example, len(self.candidates)), weight, example.origin, position, key)

    def _groups(self, example: ResponseExample, index: int) -> list[tuple[str, list[Response]]]:
        """The sets of pictures that are looked at, each with the responses to it."""
        if not self.candidates:
            return [("image", [spoken(example, number) for number in range(len(example.responses))])]
        same = groupby(self.candidates, lambda one: one.picture)
        return [(picture, [self._said(example, one.response, index) for one in those]) for picture, those in same]

    def _said(self, example: ResponseExample, name: str, index: int) -> Response:
        """The response of a candidate, by its name."""
        if name == "another":
            return spoken(mismatched(self.examples, index), 0)
        return Response(example.contrast or "") if name == "contrast" else spoken(example, NUMBERS[name])

    def _shown(self, example: ResponseExample, picture: str, index: int) -> Shown:
        """The chat with its pictures and films, or others in their place."""
        made = picture == "negative" and self.negatives is not None
        sources = example.images if picture == "image" or made else example.negatives
        images = [open_image(source, example.origin) for source in sources]
        shown = self.films([self.encoder.plain.turn(turn) for turn in example.turns], images, example.videos, example.origin)
        if not made:
            return shown
        drawn = generator(self.seed, "negative", index)
        return shown.changed(lambda image: self.negatives(image, drawn))

    def _fits(self, prompt: EncodedPrompt) -> bool:
        return self.max_length is None or len(prompt) <= self.max_length

    def _fitting(self, example: ResponseExample, shown: Shown, said: Sequence[Response]) -> EncodedPrompt:
        """The tokens of some responses, with the pictures made smaller while that helps."""
        prompt = self._encoded(example, shown, said)
        while not self._fits(prompt) and shown.smallest * SHRINK >= SMALLEST:
            shown = shown.changed(smaller)
            other = self._encoded(example, shown, said)
            if len(other) == len(prompt):
                break
            prompt = other
        return prompt

    def _encoded(self, example: ResponseExample, shown: Shown, said: Sequence[Response]) -> EncodedPrompt:
        try:
            return self.encoder(shown.turns, said, shown.images, **(shown.given | self.options))
        except UserError as error:
            raise UserError(f"{example.origin}: {error}") from error


def spoken(example: ResponseExample, number: int) -> Response:
    """One of a row's responses, with its marked phrases."""
    return Response(example.responses[number], example.phrases[number] if example.phrases else ())


def smaller(image: Image.Image) -> Image.Image:
    """A picture whose sides are a little shorter."""
    return image.resize((round(image.width * SHRINK), round(image.height * SHRINK)), Image.Resampling.BICUBIC)


def shortened(prompt: EncodedPrompt, length: int) -> EncodedPrompt:
    """The same prompt with its responses cut so that all have about so many tokens; the prompt, and pictures in it, stay whole."""
    each = max(1, (length - len(prompt.prefix)) // max(1, len(prompt.responses)))
    kept = {name: tuple(part[:each] for part in getattr(prompt, name)) for name in ("responses", "masks", "phrases")}
    return replace(prompt, **kept)


def key_of(prompts: Sequence[EncodedPrompt]) -> str:
    """A digest of everything that a model's numbers on a row depend on, but for the model."""
    texts = [[p.prefix.tolist(), [r.tolist() for r in p.responses], [m.tolist() for m in p.masks]] for p in prompts]
    seen = [part for p in prompts for name in sorted(p.vision) for part in (name, list(p.vision[name].shape), as_bytes(p.vision[name]))]
    return digest(texts, *seen)


def as_bytes(tensor: torch.Tensor) -> bytes:
    """A tensor's content."""
    return tensor.contiguous().numpy().tobytes()


def labels_of(example: ResponseExample, candidates: int = 0) -> Labels:
    """The labels of an example, as a batch of one; scores are those of the responses, where each is one candidate (0), or of its own."""
    count = candidates or len(example.responses)
    scored = example.scores is not None and (not candidates or len(example.responses) == 1)
    ranks = torch.zeros(1, count, dtype=torch.long) if example.preference == 0.5 else torch.arange(count)[None]
    return Labels(torch.tensor([example.preference]), ranks, torch.tensor([example.scores]) if scored else None)


def collate(rows: Sequence[ResponseRow]) -> ResponseBatch:
    """Rows with equally many candidates as one packed batch. Raises UserError where the numbers differ."""
    counts = [sum(len(prompt.responses) for prompt in row.prompts) for row in rows]
    for row, count in zip(rows, counts, strict=True):
        if count != counts[0]:
            said = f"{count} responses, {rows[0].origin} {counts[0]}"
            raise UserError(f"{row.origin} has {said}; train on rows of one kind, or with train.train_batch_size 1")
    scores = [row.labels.scores for row in rows]
    known = [score for score in scores if score is not None]
    labels = Labels(
        torch.cat([row.labels.preferences for row in rows]),
        torch.cat([row.labels.ranks for row in rows]),
        torch.cat(known) if len(known) == len(rows) else None,
    )
    return pack(
        [row.prompts for row in rows],
        labels,
        [row.origin for row in rows],
        torch.tensor([row.weight for row in rows]),
        positions=tuple(row.position for row in rows),
        keys=tuple(row.key for row in rows) if rows[0].key else (),
    )
