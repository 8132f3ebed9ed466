"""UnifiedReward: a vision-language model trained to write a score for one picture, or a verdict on two."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from PIL import Image

from mmalign.reward import Images, listed
from mmalign.scorers.judge import Question
from mmalign.scorers.judge_reward import WrittenReward, name_of
from mmalign.scorers.load_judge import load_judge
from mmalign.scorers.model import Dtype
from mmalign.scorers.rubric import NUMBER
from mmalign.scorers.unified_reward_prompts import PAIR, POINT
from mmalign.shapes.models import resolve

_SCALE = r"(?:\s*\(1\s*(?:[-–]|to)\s*5\))?"
_SCORE = re.compile(rf"final score{_SCALE}[\s:*\[(]*{NUMBER}", re.IGNORECASE)
_VERDICTS = {"first": r"image 1 is better", "second": r"image 2 is better", "tie": r"both images are equally good"}

Winner = Literal["first", "second", "tie"]


@dataclass(frozen=True)
class Verdict:
    """A comparison of two pictures under one prompt, asked in both orders.

    Attributes:
        preference: 1 where the first is better, 0 where the second is, 0.5 for a tie, which is also what two verdicts that contradict each
            other come to; NaN where an answer could not be read.
        winners: of the question with the first picture in front, and of the one with the second in front; None = not read.
        texts: both answers.
    """

    preference: float
    winners: tuple[Winner | None, Winner | None]
    texts: tuple[str, str]

    @property
    def flipped(self) -> bool:
        """Whether the order of the pictures changed the verdict."""
        return None not in self.winners and self.winners[0] != self.winners[1]


class UnifiedReward(WrittenReward):
    """Wang and others, "Unified Reward Model for Multimodal Understanding and Generation" (2025): the "Final Score" of a picture.

    Asked with the published questions, decoded greedily. Any of its models in transformers' format will do (the Qwen ones; those named
    UnifiedReward-7b are in LLaVA-NeXT's own format). ``compare`` asks for the better one of two pictures, in both orders. An answer without
    a score of 1 to 5 is NaN, logged, and kept in ``failures``.

    Args:
        pretrained: hub id or folder of the model.
        revision: branch, tag or commit on the hub.
        max_new_tokens: length of an answer, after which it is cut off.
        device: where the model runs; "auto" = the accelerator where there is one.
        dtype: number format of the weights; bfloat16 as published.
        batch_size: images scored at once.
    """

    range = (1.0, 5.0)
    unit = "final score"
    licence = "MIT"
    source = "arXiv 2503.05236, CodeGoat24/UnifiedReward"

    def __init__(
        self,
        pretrained: str = "CodeGoat24/UnifiedReward-qwen-7b",
        revision: str | None = None,
        max_new_tokens: int = 512,
        device: str = "auto",
        dtype: Dtype = "bfloat16",
        batch_size: int = 8,
    ) -> None:
        super().__init__(max_new_tokens, device, dtype, batch_size)
        self.judge = self.seat(load_judge(resolve(pretrained), revision, self.dtype))

    def question(self, image: Image.Image, prompt: str, name: str) -> Question:
        return Question((image,), POINT.replace("{caption}", prompt), name)

    def read(self, text: str) -> float | None:
        """The last score in an answer; None where there is none from 1 to 5."""
        found = [float(number) for number in _SCORE.findall(text)]
        return found[-1] if found and 1 <= found[-1] <= 5 else None

    def compare(self, first: Images, second: Images, prompts: str | Sequence[str]) -> list[Verdict]:
        """Verdicts on pairs of pictures, each asked with either picture in front.

        Args:
            first: images, as ``score`` takes them.
            second: as many others.
            prompts: one for all, or one per pair.

        Raises:
            ValueError: the numbers differ.
            UserError: an image cannot be read.
        """
        (first, matched), second = self.matched(first, prompts), listed(second)
        if len(first) != len(second):
            raise ValueError(f"{len(first)} first images but {len(second)} second ones: give pairs")
        failures = self.no_failures()
        texts = self.written(self._pairs(first, second, matched), self.batch_size)
        verdicts = [verdict_in(text, next(texts)) for text in texts]
        for place, verdict in enumerate(verdicts):
            name = f"{name_of(first, place)} beside {name_of(second, place)}"
            unread = [text for winner, text in zip(verdict.winners, verdict.texts, strict=True) if winner is None]
            failures += [self.failed(place, name, matched[place], text) for text in unread]
        return verdicts

    def _pairs(self, first: Images, second: Images, prompts: Sequence[str]) -> Iterator[Question]:
        """Two questions per pair: in the order given, and in the other."""
        both = zip(self.questions(first, prompts, self.batch_size), self.questions(second, prompts, self.batch_size), strict=True)
        for prompt, (one, other) in zip(prompts, both, strict=True):
            text, name = PAIR.replace("{caption}", self.judge.plain(prompt)), f"{one.name} or {other.name}"
            yield Question(one.images + other.images, text, name)
            yield Question(other.images + one.images, text, name)


def verdict_in(text: str, turned: str) -> Verdict:
    """What the answers to a pair and to the pair turned round come to."""
    back: dict[Winner | None, Winner | None] = {"first": "second", "second": "first"}
    winner, other = winner_in(text), winner_in(turned)
    winners = (winner, back.get(other, other))
    if None in winners:
        return Verdict(math.nan, winners, (text, turned))
    agreed = winners[0] if winners[0] == winners[1] else "tie"
    return Verdict({"first": 1.0, "second": 0.0, "tie": 0.5}[agreed], winners, (text, turned))


def winner_in(text: str) -> Winner | None:
    """The last verdict in an answer; None where there is none."""
    last = {name: max((found.end() for found in re.finditer(words, text, re.IGNORECASE)), default=-1) for name, words in _VERDICTS.items()}
    winner = max(last, key=last.__getitem__)
    return winner if last[winner] >= 0 else None


PLUGIN = UnifiedReward
