"""A vision-language model that rates answers about pictures by a rubric."""

import json
from collections.abc import Iterator, Sequence

import torch
from accelerate import PartialState
from tqdm import tqdm

from mmalign.config.answers import JudgeConfig
from mmalign.errors import UserError
from mmalign.evaluation.answers.questions import AskedQuestion
from mmalign.images import open_image
from mmalign.scorers.judge import Judge, Question
from mmalign.scorers.load_judge import load_judge
from mmalign.scorers.rubric import Rubric
from mmalign.shapes.models import resolve

ASPECTS = {
    "correct": "the answer says what the pictures show and what was asked for",
    "grounded": "everything that it names is there to be seen; nothing is made up",
    "complete": "nothing that the question asks for is left out, and nothing is said at needless length",
}

QUESTION = """\
Someone was asked about the pictures above: "{question}"
{truth}They answered: "{answer}"
Judge this answer by each of the following aspects, one without regard to the others.
{aspects}
For every aspect, first give your reasons in one or two sentences, then a rating: a whole number from 1 (very poor) to 5 (excellent).
Answer with nothing but JSON of this form:
{form}"""


class AnswerJudge:
    """Rates answers; the rating is the mean of three aspects, 1 to 5. The question is this library's own wording.

    Args:
        config: which model, and how it is run.

    Raises:
        UserError: no model is named, or it cannot be loaded.
    """

    rubric = Rubric(ASPECTS)

    def __init__(self, config: JudgeConfig):
        if config.pretrained is None:
            raise UserError("the judge has no model; give judge.pretrained")
        self.config = config
        self.judge: Judge = load_judge(resolve(config.pretrained), config.revision, getattr(torch, config.dtype))
        self.judge.model.to(PartialState().device)

    def rate(self, questions: Sequence[AskedQuestion], answers: Sequence[str], name: str | None = None) -> list[float | None]:
        """Ratings of answers, one to each question; None where one cannot be read.

        Args:
            name: what the bar is called; None = no bar.
        """
        return [self.read(text) for text in tqdm(self._said(questions, answers), name, len(questions), disable=name is None, unit="answer")]

    def read(self, text: str) -> float | None:
        """The rating in what the judge said; None unless all aspects are there."""
        ratings = self.rubric.read(text).ratings
        return sum(ratings.values()) / len(ratings) if ratings.keys() >= ASPECTS.keys() else None

    def question(self, asked: AskedQuestion, answer: str) -> Question:
        """What the judge is asked about one answer; the right one is told where it is known."""
        truth = f'The right answer is: "{" or ".join(asked.answers)}"\n' if asked.answers else ""
        lines = "\n".join(f"- {name}: {description}" for name, description in ASPECTS.items())
        form = ", ".join(f'{json.dumps(name)}: {{"rationale": "...", "rating": n}}' for name in ASPECTS)
        text = QUESTION.format(question=asked.text, truth=truth, answer=answer, aspects=lines, form=f"{{{form}}}")
        return Question(tuple(open_image(source, asked.origin) for source in asked.images), self.judge.plain(text), asked.origin)

    def _said(self, questions: Sequence[AskedQuestion], answers: Sequence[str]) -> Iterator[str]:
        for start in range(0, len(questions), self.config.batch_size):
            rows = slice(start, start + self.config.batch_size)
            asked = [self.question(*pair) for pair in zip(questions[rows], answers[rows], strict=True)]
            yield from self.judge.write(self.judge.encode(asked), self.config.max_new_tokens)
