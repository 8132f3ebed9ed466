"""Rewards that ask a vision-language model, and what becomes of answers that cannot be read."""

import logging
import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
from PIL import Image
from torch import Tensor

from mmalign.errors import UserError
from mmalign.prefetch import prefetch
from mmalign.reward import Images, Scorer, alike
from mmalign.scorers.judge import Asked, Judge, Question, Side
from mmalign.scorers.model import Dtype, ModelReward
from mmalign.scorers.preprocess import to_pils

LOG = logging.getLogger(__name__)


class JudgeReward(ModelReward):
    """A scorer that asks a judge about each picture.

    Subclasses set ``self.judge`` with ``self.seat(judge)``, say in ``question`` what is asked, and read the answers in ``_score``. Threads
    open the pictures, and one more puts questions together, pixels included, while the model answers the batch before.

    Transparency is laid on white before, as for every scorer here, where the published packages show what lies below it.
    """

    needs_prompt: ClassVar[bool] = True
    differentiable: ClassVar[bool] = False
    side: ClassVar[Side] = "left"
    answer: str | None = None
    judge: Judge

    @abstractmethod
    def question(self, image: Image.Image, prompt: str, name: str) -> Question:
        """What is asked about one picture. The prompt is free of control tokens."""

    def seat(self, judge: Judge) -> Judge:
        """A judge whose model is frozen and on the reward's device. Its number format is left: rotary frequencies stay float32."""
        judge.model.eval().requires_grad_(False).to(self.device)
        return judge

    def prepare(self, image: Image.Image) -> Image.Image:
        return image

    def prepare_tensor(self, images: Tensor, differentiable: bool) -> list[Image.Image]:
        """Pixels are rounded to 8 bits, so that a tensor scores as its file would."""
        return [self.prepare(image) for image in to_pils(images)]

    def collate(self, prepared: list[Image.Image]) -> list[Image.Image]:
        return prepared

    def encode(self, questions: Sequence[Question]) -> Asked:
        """Questions as a batch for the model."""
        return self.judge.encode(questions, self.side, self.answer)

    def questions(self, images: Images, prompts: Sequence[str], size: int) -> Iterator[Question]:
        """The questions about images and their prompts, in order; images are opened ahead."""
        pictures = (picture for _, few in super()._batches(images, None, size, False) for picture in few)
        for place, (picture, prompt) in enumerate(zip(pictures, prompts, strict=True)):
            yield self.question(picture, self.judge.plain(prompt), name_of(images, place))

    def encoded(self, questions: Iterable[Question], size: int) -> Iterator[tuple[int, Asked]]:
        """Questions in batches, and how many each has, put together one batch ahead of the reader."""

        def together(few: Sequence[Question]) -> tuple[int, Asked]:
            return len(few), self.encode(few)

        return prefetch(together, alike(questions, size), workers=min(1, self.workers), ahead=1)

    def _batches(self, images: Images, prompts: list[str] | None, size: int, differentiable: bool) -> Iterator[tuple[int, Asked]]:
        return self.encoded(self.questions(images, prompts or [], size), size)


@dataclass(frozen=True)
class Failure:
    """An answer that could not be read.

    Attributes:
        place: of the image among those of the call.
        image: its path, or "image PLACE".
        prompt: its prompt.
        text: what the model said.
    """

    place: int
    image: str
    prompt: str
    text: str


class WrittenReward(JudgeReward):
    """A scorer that reads its scores from what a judge writes.

    An answer that cannot be read is NaN, never a low score; it is logged, and kept in ``failures``. ``mmalign score`` leaves such a cell
    empty and says why in its error column, ``mmalign pairs`` makes no pair of the prompt, and ``mmalign evaluate`` stops and names it.

    Args:
        max_new_tokens: length of an answer, after which it is cut off.

    Attributes:
        failures: the unread answers of the call that began last; each call has a list of its own, also in threads.
    """

    def __init__(self, max_new_tokens: int, device: str, dtype: Dtype, batch_size: int) -> None:
        super().__init__(device, dtype, batch_size)
        if max_new_tokens < 1:
            raise UserError(f"max_new_tokens is {max_new_tokens}; give 1 or more, some hundreds for an answer with reasons")
        self.max_new_tokens = max_new_tokens
        self.failures: list[Failure] = []

    @abstractmethod
    def read(self, text: str) -> float | None:
        """The score in an answer; None where there is none."""

    def written(self, questions: Iterable[Question], size: int) -> Iterator[str]:
        """The judge's answers, in order."""
        for _, asked in self.encoded(questions, size):
            yield from self.judge.write(asked, self.max_new_tokens)

    def no_failures(self) -> list[Failure]:
        """The list of a call that begins."""
        self.failures = failures = []
        return failures

    def failed(self, place: int, image: str, prompt: str, text: str) -> Failure:
        """An answer that could not be read, which is logged."""
        LOG.warning("%s: no score in the answer about %s (prompt %r): %r", type(self).__name__, image, prompt, text)
        return Failure(place, image, prompt, text)

    def _scorer(self, prompts: list[str] | None) -> Scorer:
        return partial(self._read_all, prompts or [], self.no_failures())

    def _read_all(self, prompts: Sequence[str], failures: list[Failure], asked: Asked, places: range) -> Tensor:
        scores = []
        for place, name, text in zip(places, asked.names, self.judge.write(asked, self.max_new_tokens), strict=True):
            score = self.read(text)
            if score is None:
                failures.append(self.failed(place, name, prompts[place], text))
            scores.append(math.nan if score is None else score)
        return torch.tensor(scores)

    def _score(self, images: Asked, prompts: list[str] | None) -> Tensor:
        return self._scorer(prompts)(images, range(len(images.names)))


def checked_template(template: str, key: str) -> str:
    """A question of the user's that has a place for the prompt.

    Raises:
        UserError: it has none.
    """
    if "{caption}" not in template:
        raise UserError(f"{key} is {template!r}, which has no place for the prompt; write {{caption}} where it belongs")
    return template


def name_of(images: Images, place: int) -> str:
    """What messages call an image: its path, or its place among those of the call."""
    image = None if isinstance(images, Tensor) else images[place]
    return str(image) if isinstance(image, str | Path) else f"image {place}"
