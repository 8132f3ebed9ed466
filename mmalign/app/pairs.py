"""Pairs to judge: of two models from the same noise, of one model from different noise, of answers to one question."""

import random
import threading
from collections.abc import Callable, Sequence

from PIL import Image

from mmalign.compare import BASE, Studio, View
from mmalign.compare.asking import Asked, Interview
from mmalign.compare.seeds import LARGEST
from mmalign.errors import UserError
from mmalign.votes import Contender
from mmalign.votes.deck import Pair


class Shuffled:
    """Prompts in an order of their own, each once before one comes again.

    Args:
        draws: chance.
    """

    def __init__(self, prompts: Sequence[str], draws: random.Random):
        self._prompts, self._draws = list(prompts), draws
        self._left: list[str] = []
        self._turn = threading.Lock()

    def next(self) -> str:
        """The next one. Raises UserError where there are none."""
        if not self._prompts:
            raise UserError("there are no prompts to draw pairs of; start the app with --prompts FILE, or type one below")
        with self._turn:
            if not self._left:
                self._left = self._draws.sample(self._prompts, len(self._prompts))
            return self._left.pop()


class PicturePairs:
    """Draws pairs of pictures by two models of a studio, which change from pair to pair.

    Args:
        studio: the models.
        prompts: they come in an order of their own, each once before one comes again.
        draws: chance; None = the system's.
    """

    def __init__(self, studio: Studio, prompts: Sequence[str], draws: random.Random | None = None):
        self.studio, self._draws = studio, draws or random.SystemRandom()
        self._prompts = Shuffled(prompts, self._draws)

    def __call__(self) -> Pair:
        """A pair for a prompt of the set. Raises UserError as ``of`` does, and where there are no prompts."""
        return self.of(self._prompts.next())

    def of(self, prompt: str) -> Pair:
        """A pair for this prompt.

        Raises:
            UserError: there is only the base, the models draw clips, or the prompt cannot be drawn.
        """
        if self.studio.defaults.frames is not None:
            raise UserError("these models draw clips, and votes are on pictures here; look at clips on the tab Compare")
        names = [name for name in self.studio.names if name == BASE or self.studio.aligned[name].kind != "personal"]
        if len(names) < 2:
            raise UserError("there is only the base, and nothing to compare it with; start the app with --aligned NAME=FOLDER")
        view = View(prompt, seeds=(self._draws.randrange(LARGEST),), models=tuple(self._draws.sample(names, 2)))
        full = self.studio.filled(view)
        first, second = (Contender(one.model, one.image, self.studio.about(one.model)) for one in self.studio.draw(view))
        settings = {name: getattr(full, name) for name in ("steps", "guidance", "width", "height")}
        return Pair(prompt, (first, second), {"seed": full.seeds[0], "base": self.studio.source, **settings})


class TastePairs:
    """Draws pairs of pictures by the base alone, from different noise, so that only a taste tells them apart.

    Args:
        studio: of which the base draws.
        prompts: they come in an order of their own.
        draws: chance; None = the system's.
    """

    def __init__(self, studio: Studio, prompts: Sequence[str], draws: random.Random | None = None):
        self.studio, self._draws = studio, draws or random.SystemRandom()
        self._prompts = Shuffled(prompts, self._draws)

    def __call__(self) -> Pair:
        """A pair for a prompt of the set. Raises UserError where there are no prompts, or one cannot be drawn."""
        prompt = self._prompts.next()
        seeds = tuple(self._draws.randrange(LARGEST) for _ in range(2))
        first, second = (Contender(one.model, one.image) for one in self.studio.draw(View(prompt, seeds=seeds, models=(BASE,))))
        return Pair(prompt, (first, second), {"seeds": list(seeds)})


Ask = Callable[[], tuple[str, Sequence[Image.Image]]]
"""Gives a question and its pictures."""


class AnswerPairs:
    """Answers of two models to one question about pictures.

    Args:
        interview: the models.
        ask: gives the questions.
        draws: chance; None = the system's.
    """

    TRIES = 4

    def __init__(self, interview: Interview, ask: Ask, draws: random.Random | None = None):
        self._interview, self._ask, self._draws = interview, ask, draws or random.SystemRandom()

    def __call__(self) -> Pair:
        """A pair of answers that differ, where one is found in a few tries. Raises UserError where there is only the base."""
        names = self._interview.names
        if len(names) < 2:
            raise UserError("there is only the base, and nothing to compare it with; start the app with --vlm-aligned NAME=FOLDER")
        for _ in range(self.TRIES):
            question, pictures = self._ask()
            models = self._draws.sample(names, 2)
            said = list(self._interview.ask(Asked(question, tuple(pictures)), models))
            if said[0].text.strip() != said[1].text.strip():
                break
        first, second = (Contender(one.model, one.text, self._interview.about(one.model)) for one in said)
        return Pair(question, (first, second), {"base": self._interview.source, "decoding": "greedy"}, tuple(pictures))
