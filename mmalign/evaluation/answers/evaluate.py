"""Base against aligned on the same questions."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image

from mmalign.errors import UserError
from mmalign.evaluation.answers.judge import AnswerJudge
from mmalign.evaluation.answers.measure import Measured, mark
from mmalign.evaluation.answers.questions import AskedQuestion, Match
from mmalign.evaluation.answers.result import AnswersEvaluation, Choice, Marked, Shown
from mmalign.evaluation.answers.sides import AlignedVlm, answer_all
from mmalign.evaluation.selection import evenly_spaced, largest_wins
from mmalign.images import open_image
from mmalign.vlm.films import read_film

FRAMES_SHOWN = 4
"""Frames of a film in the report."""


@dataclass(frozen=True)
class Options:
    """How answers are made and counted.

    Attributes:
        max_new_tokens: tokens of an answer, after which it is cut off.
        batch_size: questions answered at once.
        processor: arguments of the processor.
        frames: which frames of films are looked at: count, fps, as_pictures.
        shown: questions shown in the report, spread evenly over all.
        extremes: largest wins shown besides, and as many largest losses.
    """

    match: Match = "exact"
    max_new_tokens: int = 64
    batch_size: int = 16
    processor: Mapping[str, Any] = field(default_factory=dict)
    frames: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    resamples: int = 10_000
    confidence: float = 0.95
    shown: int = 24
    extremes: int = 6


def evaluate(
    sides: AlignedVlm,
    questions: Sequence[AskedQuestion],
    aligned_to: str = "right",
    options: Options = Options(),
    judge: AnswerJudge | None = None,
    progress: bool = True,
) -> AnswersEvaluation:
    """Asks both sides the same questions and compares their answers.

    Args:
        aligned_to: right, grounded or judge.

    Raises:
        UserError: nothing is known of the answers that ``aligned_to`` is about, or a picture cannot be read.
    """
    started, seconds = time.perf_counter(), {}
    said = {}
    for name in ("base", "aligned"):
        began = time.perf_counter()
        said[name] = _answers(sides, name, questions, options, progress)
        seconds[f"answering_{name}"] = time.perf_counter() - began
    marked = [[mark(one, answer, options.match) for one, answer in zip(questions, said[name], strict=True)] for name in said]
    if judge is not None:
        began = time.perf_counter()
        marked = [_rated(judge, questions, side, f"judge {name}" if progress else None) for name, side in zip(said, marked, strict=True)]
        seconds["judging"] = time.perf_counter() - began
    measured = Measured(questions, (marked[0], marked[1]), options.seed, options.resamples, options.confidence)
    comparisons = measured.comparisons(aligned_to)
    if not any(row.reward == aligned_to for row in comparisons):
        known = ", ".join(row.reward for row in comparisons) or "nothing"
        raise UserError(f"aligned_to is {aligned_to!r}, of which these questions tell nothing; they tell: {known}")
    return AnswersEvaluation(
        aligned_to=aligned_to,
        comparisons=comparisons,
        rates=measured.right(),
        made_up=measured.made_up(),
        lengths=measured.lengths(),
        shown=_shown(questions, marked, measured.change(aligned_to), options),
        rows=[_row(one, base, aligned) for one, base, aligned in zip(questions, *marked, strict=True)],
        questions=len(questions),
        confidence=options.confidence,
        unrated=0 if judge is None else sum(one.rating is None for side in marked for one in side),
        seconds=seconds | {"evaluation": time.perf_counter() - started},
    )


def _answers(sides: AlignedVlm, name: str, questions: Sequence[AskedQuestion], options: Options, progress: bool) -> list:
    given = (questions, options.max_new_tokens, options.batch_size, options.processor, name if progress else None, options.frames)
    if name == "base":
        return answer_all(sides.base, *given)
    with sides.aligned() as family:
        return answer_all(family, *given)


def _rated(judge: AnswerJudge, questions: Sequence[AskedQuestion], side: Sequence[Marked], name: str | None) -> list[Marked]:
    ratings = judge.rate(questions, [one.text for one in side], name)
    return [replace(one, rating=rating) for one, rating in zip(side, ratings, strict=True)]


def _shown(questions: Sequence[AskedQuestion], marked: Sequence[Sequence[Marked]], change: np.ndarray, options: Options) -> list[Shown]:
    chosen: dict[Choice, list[int]] = {
        "even": evenly_spaced(len(questions), options.shown),
        "win": largest_wins(change, options.extremes),
        "loss": largest_wins(-change, options.extremes),
    }
    return [
        Shown(
            question=questions[place].text,
            answers=questions[place].answers,
            images=_seen(questions[place]),
            base=marked[0][place],
            aligned=marked[1][place],
            chosen=name,
        )
        for name, places in chosen.items()
        for place in places
    ]


def _seen(asked: AskedQuestion) -> tuple[Image.Image, ...]:
    """The pictures of a question, and some frames of its films."""
    pictures = (open_image(source, asked.origin) for source in asked.images)
    frames = (frame for film in asked.videos for frame in read_film(film, FRAMES_SHOWN, origin=asked.origin).frames)
    return (*pictures, *frames)


def _row(asked: AskedQuestion, base: Marked, aligned: Marked) -> dict[str, object]:
    sides = {"base": asdict(base), "aligned": asdict(aligned)}
    return {"origin": asked.origin, "question": asked.text, "answer": list(asked.answers), **asked.groups, **sides}
