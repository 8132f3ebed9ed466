"""From questions about films to preferences: films spoiled, answers asked for, wrong ones found, phrases marked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from random import Random

from mmalign.config.rrpo import RrpoOptions
from mmalign.data.responses import ResponseExample
from mmalign.errors import UserError
from mmalign.factory.mined import Mining
from mmalign.factory.questions import Asked
from mmalign.factory.rrpo.asking import Asker, turns_of
from mmalign.factory.rrpo.frames import Frames, frames_of
from mmalign.factory.rrpo.judged import contact, says_wrong
from mmalign.factory.rrpo.perturb import perturbed
from mmalign.factory.rrpo.phrases import Pair, paired
from mmalign.factory.rrpo.rewrite import Rewriter
from mmalign.factory.rrpo.verdict import Form, form_of, is_wrong
from mmalign.prefetch import prefetch
from mmalign.reward import Reward
from mmalign.training.order import derived_seed
from mmalign.vlm.edits import plain
from mmalign.vlm.family import VlmFamily
from mmalign.vlm.films import Film

RIGHT = "the model was right"
UNTOLD = "nothing says whether it is wrong"
SILENT = "the model said nothing"
SAME = "no words differ"


@dataclass(frozen=True)
class Helpers:
    """What says that an answer of several words is wrong, and writes wrong ones in the words of right ones; either may be missing."""

    judges: Sequence[Reward] = ()
    rewriter: Rewriter | None = None


@dataclass(frozen=True)
class Mined:
    """A row, what the model said of its spoiled film, and what became of it.

    Attributes:
        number: of the row.
        asked: the row.
        form: what kind of answer it asks for.
        frames: its film or its pictures; None where they cannot be read.
        seen: the film as the model saw it when it said so; None where it was not asked.
        said: the model's own words, or those that the row gave.
        pair: the right answer and the wrong one with their phrases; None where there is none.
        reason: why it is not kept; None = it is.
        detail: what an error said.
    """

    number: int
    asked: Asked
    form: Form = "open"
    frames: Frames | None = None
    seen: Film | None = None
    said: str = ""
    pair: Pair | None = None
    reason: str | None = None
    detail: str = ""

    @property
    def kept(self) -> bool:
        return self.reason is None

    def example(self) -> ResponseExample:
        """The preference, as training takes it: under the film as it was."""
        assert self.pair is not None
        assert self.frames is not None
        told = {"phrases": self.pair.spans, "origin": self.asked.origin}
        turns, said = turns_of(self.asked, len(self.frames.images)), (self.pair.chosen, self.pair.rejected)
        return ResponseExample(turns, said, images=self.frames.sources, videos=self.asked.videos, **told)


def mine(
    family: VlmFamily | None, rows: Sequence[Asked], options: RrpoOptions | None = None, helpers: Helpers = Helpers()
) -> Mining[Mined]:
    """Preferences from questions about films or several pictures, in memory.

    Args:
        family: the model to align, whose wrong answers are the rejected ones; None = rows have wrong answers already.
        rows: questions with right answers.
        options: how films are spoiled and answers chosen; None = as published, as far as that is known.
        helpers: judges of answers of several words, and what rewrites them.
    """
    return Mining(list(Miner(family, rows, options or RrpoOptions(), helpers).mined(range(len(rows)))))


class Miner:
    """Spoils films, has a model answer, and says which answers are kept.

    Args:
        family, rows, options, helpers: as ``mine`` has them.
        given: column of wrong answers that are there already.
        workers: threads that open frames ahead.
    """

    def __init__(
        self,
        family: VlmFamily | None,
        rows: Sequence[Asked],
        options: RrpoOptions,
        helpers: Helpers = Helpers(),
        given: str = "pred",
        workers: int = 0,
    ):
        self._rows, self.options, self._helpers, self._given, self._workers = rows, options, helpers, given, workers
        self._asker = None if family is None else Asker(family, options)
        self._count = options.frames if self._asker is None else self._asker.count

    def mined(self, numbers: Sequence[int]) -> Iterator[Mined]:
        """What becomes of rows, in order; neighbors of ``options.batch_size`` are answered together."""
        opened_rows = prefetch(self._opened, numbers, self._workers, ahead=2 * self.options.batch_size)
        while batch := list(islice(opened_rows, self.options.batch_size)):
            yield from self._finished(batch)

    def _opened(self, number: int) -> Mined:
        """A row with its frames, and with its wrong answer where it has one."""
        try:
            asked = self._rows[number]
        except UserError as error:
            return Mined(number, Asked("", "", origin=f"row {number}"), reason="the row cannot be read", detail=str(error))
        if not asked.question or not asked.answer:
            return Mined(number, asked, reason="no question or no answer")
        one = Mined(number, asked, form_of(asked.question, asked.answer))
        if not asked.images and not asked.videos:
            return replace(one, reason="no film and no pictures")
        try:
            return replace(one, frames=frames_of(asked, self._count), said=self._told(asked))
        except (UserError, OSError) as error:
            return replace(one, reason="a frame cannot be opened", detail=str(error))

    def _told(self, asked: Asked) -> str:
        """The wrong answer that a row has; empty where it has none."""
        cells = asked.cells or {}
        return str(cells.get("pred_masked") or cells.get(self._given) or "").strip()

    def _finished(self, batch: Sequence[Mined]) -> list[Mined]:
        given = [one if one.reason is not None or not one.said else self._marked(one) for one in batch]
        # what is spoiled anew is asked again until its answer is wrong
        done = {one.number: one for one in given if one.reason is not None or one.pair is not None}
        for attempt in range(self.options.attempts):
            left = [one for one in given if one.number not in done or done[one.number].reason == RIGHT]
            if left:
                done |= {one.number: one for one in self._asked(left, attempt)}
        return [done[one.number] for one in batch]

    def _asked(self, batch: Sequence[Mined], attempt: int) -> list[Mined]:
        if self._asker is None:
            return [replace(one, reason="no wrong answer, and no model to give one") for one in batch]
        seen = [self._spoiled(one, attempt) for one in batch]
        said = self._asker([one.asked for one in batch], seen)
        told = zip(batch, seen, said, strict=True)
        return self._rewritten([self._judged(replace(one, seen=film, said=text)) for one, film, text in told])

    def _spoiled(self, one: Mined, attempt: int) -> Film:
        assert one.frames is not None
        return one.frames.spoiled(perturbed(one.frames.images, self.options, self._draw(one, attempt)))

    def _draw(self, one: Mined, attempt: int) -> Random:
        return Random(derived_seed(self.options.seed, "rrpo", one.number, attempt))

    def _judged(self, one: Mined) -> Mined:
        """An answer with the reason against it, if there is one."""
        asked = one.asked
        if not plain(one.said):
            return replace(one, reason=SILENT)
        wrong = is_wrong(asked.question, asked.answer, one.said)
        if wrong is None and one.form == "open":
            wrong = self._open_wrong(one)
        return replace(one, reason=UNTOLD if wrong is None else None if wrong else RIGHT)

    def _open_wrong(self, one: Mined) -> bool | None:
        if self._helpers.judges:
            assert one.frames is not None
            told = (one.asked.question, one.asked.answer, one.said)
            return says_wrong(self._helpers.judges, contact(one.frames.images), *told, self.options.judge_gap)
        if self._helpers.rewriter is not None:
            return True  # it finds out itself
        return True if self.options.open_answers == "differs" else None

    def _rewritten(self, batch: Sequence[Mined]) -> list[Mined]:
        """The wrong answers with their phrases, those of several words in the words of the right ones where there is a text model."""
        rewriter = self._helpers.rewriter
        places = [place for place, one in enumerate(batch) if one.kept and one.form == "open"] if rewriter is not None else []
        written = dict(zip(places, self._written([batch[place] for place in places]), strict=True))
        made = []
        for place, one in enumerate(batch):
            text = written.get(place, one.said)
            made.append(replace(one, reason=RIGHT) if text is None else self._marked(one, text) if one.kept else one)
        return made

    def _written(self, batch: Sequence[Mined]) -> list[str | None]:
        assert self._helpers.rewriter is not None or not batch
        return [] if not batch else self._helpers.rewriter([(one.asked.question, one.asked.answer, one.said) for one in batch])  # type: ignore[misc]

    def _marked(self, one: Mined, text: str | None = None) -> Mined:
        """A wrong answer, the row's own where no text is given, with its phrases."""
        cells = (one.asked.cells or {}) if text is None else {}
        chosen, rejected = str(cells.get("answer_masked") or one.asked.answer), one.said if text is None else text
        how = self.options.phrases if text is None else "auto"
        try:
            pair = paired(chosen, rejected, how, cells, one.asked.origin)
        except UserError as error:
            return replace(one, reason="its phrases cannot be read", detail=str(error))
        return replace(one, pair=pair, reason=None if pair.marked else SAME)
