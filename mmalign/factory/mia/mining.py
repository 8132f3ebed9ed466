"""From questions about one picture to preferences about several: the model's own answers, and those kept that looked elsewhere."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from PIL import Image

from mmalign.config.mia import MiaOptions
from mmalign.data.responses import ResponseExample
from mmalign.errors import UserError
from mmalign.factory.mia.build import Builder, Left
from mmalign.factory.mia.noise import RELEASED
from mmalign.factory.mia.plan import Request, requests
from mmalign.factory.mia.pool import Pool
from mmalign.factory.mia.select import Measures, measured, reason_against
from mmalign.factory.mined import Mining
from mmalign.factory.questions import Asked
from mmalign.images import ImageSource
from mmalign.prefetch import prefetch
from mmalign.training.order import derived_seed
from mmalign.vlm.answer import Answer, answers
from mmalign.vlm.attention import AttentionProbe, prompt_of, target_share
from mmalign.vlm.encode import EncodedPrompts, PromptEncoder
from mmalign.vlm.family import VlmFamily
from mmalign.vlm.multi_image import MultiImage

SIDE = 112
"""Pixels of the shorter side of a picture that a processor is tried with."""


@dataclass(frozen=True)
class Mined:
    """A prompt with the right answer, the model's own, and what became of it.

    Attributes:
        request: what was to be made, of which row.
        asked: the row.
        made: the prompt; None where none could be made.
        sources: the pictures of a sequence as they are stored; empty where the prompt's picture was put together.
        rejected: what the model said; empty where it was not asked.
        measures: what is known of it; None where it was not asked.
        reason: why it is not kept; None = it is.
        detail: what an error said.
    """

    request: Request
    asked: Asked
    made: MultiImage | None = None
    sources: tuple[ImageSource, ...] = ()
    rejected: str = ""
    measures: Measures | None = None
    reason: str | None = None
    detail: str = ""

    @property
    def kept(self) -> bool:
        return self.reason is None

    def example(self) -> ResponseExample:
        """The preference, as training takes it."""
        assert self.made is not None
        turns = tuple(self.made.turns())
        return ResponseExample(turns, (self.asked.answer, self.rejected), images=self.made.images, origin=self.asked.origin)


def mine(family: VlmFamily, rows: Sequence[Asked], options: MiaOptions | None = None, groups: Sequence[str] | None = None) -> Mining[Mined]:
    """Preferences from questions about one picture, in memory.

    Args:
        family: the model to align, whose own answers are the rejected ones.
        rows: questions about one picture each, with right answers.
        options: how prompts are made and answers chosen; None = as published, as far as that is known.
        groups: for each row with which others it shares pictures; None = all with all.

    Raises:
        UserError: the family does not know where in a picture its tokens lie, and collages or pictures in pictures are asked for.
    """
    options = options or MiaOptions()
    wanted = requests(len(rows), options.kinds, options.seed)
    return Mining(list(Miner(family, rows, options, groups).mined(wanted)))


class Miner:
    """Makes prompts, has a model answer them, and says which answers are kept.

    Args:
        family, rows, options, groups: as ``mine`` has them.
        workers: threads that open and put together pictures ahead.
    """

    def __init__(
        self, family: VlmFamily, rows: Sequence[Asked], options: MiaOptions, groups: Sequence[str] | None = None, workers: int = 0
    ):
        self.family, self.options, self._workers = family, options, workers
        self._encoder, self._probe = PromptEncoder(family.processor), AttentionProbe(family.model, options.layer)
        square = cuts_sides(family, self._encoder, options.processor) if options.square is None else options.square
        self._build = Builder(rows, Pool(rows, groups), options, square)

    def mined(self, wanted: Sequence[Request]) -> Iterator[Mined]:
        """What becomes of prompts, in order; neighbors of ``options.batch_size`` are answered together."""
        built = prefetch(self._built, wanted, self._workers, ahead=2 * self.options.batch_size)
        while batch := list(islice(built, self.options.batch_size)):
            yield from self._answered(batch)

    def _built(self, request: Request) -> Mined:
        asked, built = self._build(request)
        if isinstance(built, Left):
            return Mined(request, asked, reason=built.reason, detail=built.detail)
        return Mined(request, asked, built.made, built.sources)

    def _answered(self, batch: Sequence[Mined]) -> list[Mined]:
        able = [one for one in batch if one.made is not None]
        if not able:
            return list(batch)
        shown = [self._seen(one) for one in able]
        chats = [[self._encoder.plain.turn(turn) for turn in made.turns()] for made in shown]
        prompts = self._encoder.prompts(chats, [made.images for made in shown], **self.options.processor)
        said = answers(self.family, prompts, self.options.max_new_tokens, self._probe)
        judged = {
            one.request.number: self._judged(one, answer, partial(self._share, prompts, place))
            for place, (one, answer) in enumerate(zip(able, said, strict=True))
        }
        return [judged.get(one.request.number, one) for one in batch]

    def _seen(self, one: Mined) -> MultiImage:
        """The prompt as the model sees it."""
        assert one.made is not None
        noise = RELEASED.get(one.request.kind) if self.options.noise == "released" else None
        if noise is None:
            return one.made
        return noise(one.made, np.random.default_rng(derived_seed(self.options.seed, "noise", one.request.kind, one.request.row)))

    def _share(self, prompts: EncodedPrompts, place: int, made: MultiImage, answer: Answer) -> float | None:
        return None if answer.attention is None else target_share(self.family, prompts, place, made, answer.attention)

    def _judged(self, one: Mined, answer: Answer, share: partial) -> Mined:
        said = answer.text.strip()
        found = measured(one.request, one.asked.answer, said, share(one.made, answer), answer.perplexity, answer.tokens, self.options)
        return replace(one, rejected=said, measures=found, reason=reason_against(one.request, said, found, self.options))


def cuts_sides(family: VlmFamily, encoder: PromptEncoder, processor: Mapping[str, Any]) -> bool:
    """Whether a model does not see the sides of a wide picture, as one whose processor keeps the middle square.

    Args:
        processor: arguments of the model's processor.
    """
    wide = Image.new("RGB", (3 * SIDE, SIDE))
    asked = encoder.prompts([[{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}]], [[wide]], **processor)
    try:
        cells = family.cells(prompt_of(asked, 0), 0, wide.size)
    except UserError:
        return False  # where its tokens lie is not known; it is said where that matters
    return bool(cells[:, 0].min() > 1 / SIDE)
