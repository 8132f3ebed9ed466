"""Training on pictures that the model draws during the run, in rounds: the stream of batches that the loop reads in place of the data's.

At the start of a round the model becomes a member of the pool, a member draws for all rows of the round, and the rows are trained on.
A round that is resumed in its middle begins with the same member and finds, or draws again, the same pictures.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from mmalign.config import OnlineConfig
from mmalign.data.cache import TensorCache
from mmalign.data.schema import Example
from mmalign.frames import said as clip_scores
from mmalign.objective import Objective
from mmalign.training import views
from mmalign.training.dataset import EncodedExamples
from mmalign.training.drawing import AT_ONCE, Drawer, Drawn, Request
from mmalign.training.loader import read_ahead
from mmalign.training.log import RunLog
from mmalign.training.parts import Parts
from mmalign.training.pool import Pool, fingerprint, holding
from mmalign.training.reference import Earlier

FOLDER = "online"


class Rounds:
    """The batches of a run whose pictures are drawn in rounds.

    Args:
        parts: the run's, with what is known of its rows before anything is drawn.
        online: how long a round is, and what is drawn.
        examples: prompts, or winners.
        drawer: draws for rows.
        folder: the run's, where members and the drawings of a round are kept; None = in memory, for a dry run.
    """

    def __init__(self, parts: Parts, online: OnlineConfig, examples: Sequence[Example], drawer: Drawer, folder: Path | None):
        self.run, self.data, self.collate = parts.run, parts.dataset, parts.collate
        self.online, self.examples, self.drawer = online, examples, drawer
        self.folder = None if folder is None else folder / FOLDER
        self.pool = Pool(self.run.trainable.module, online, self.run.plan.seed, folder, self.run.accelerator)

    def batches(self, start: int, log: RunLog | None = None) -> Iterator[Any]:
        """This process's micro-batches from a step on; each round begins when its first batch is asked for."""
        length, last = self.online.refresh_steps, self.run.config.max_train_steps
        for number in range(start // length, -(-last // length)):
            begin = number * length
            step = max(start, begin)
            dataset = self._round(number, step, log if step == begin else None)
            items = [[(position, position) for _, position in micro] for micro in self.run.plan.from_step(step, min(begin + length, last))]
            workers, pin = self.run.config.dataloader_num_workers, self.run.accelerator.device.type == "cuda"
            yield from read_ahead(dataset, items, self.collate, workers, pin)

    def _round(self, number: int, step: int, log: RunLog | None) -> EncodedExamples:
        """The rows of a round from a step on, drawn by its member."""
        begin = number * self.online.refresh_steps
        if step == begin:
            self.pool.keep(begin)
        member = self.pool.chosen(number)
        tensors = self.pool.load(member)
        if isinstance(self.run.trainable.reference, Earlier):
            self.run.trainable.reference.load(tensors)
        cache = TensorCache(self._emptied(number))
        with holding(self.run.trainable.module, tensors):
            drawn = self._drawn(cache, fingerprint(tensors), begin, step)
        if log is not None:
            log.write(begin + 1, {"online/member": float(member), **self._facts(list(drawn.values()))})
        return self.data.over({position: one.row for position, one in drawn.items()}, cache)

    def _emptied(self, number: int) -> Path | None:
        """The folder of a round; those of others are removed."""
        if self.folder is None:
            return None
        own = self.folder / f"round-{number:05d}"
        if self.run.accelerator.is_main_process:
            for other in self.folder.glob("round-*"):
                if other != own:
                    shutil.rmtree(other, ignore_errors=True)
        self.run.accelerator.wait_for_everyone()
        return own

    def _drawn(self, cache: TensorCache, member: str, begin: int, step: int) -> dict[int, Drawn]:
        """What is drawn for this process's rows of a round, by position, in parts that are the same wherever a resume begins."""
        plan, last = self.run.plan, self.run.config.max_train_steps
        steps = range(begin, begin + self.online.refresh_steps)
        items = [(at, row, position) for at in steps for micro in plan.from_step(at, at + 1) for row, position in micro]
        parts = [items[first : first + AT_ONCE] for first in range(0, len(items), AT_ONCE)]
        wanted = [part for part in parts if any(step <= at < last for at, _, _ in part)]
        total = sum(map(len, wanted)) * self.online.draws
        drawn: dict[int, Drawn] = {}
        hidden = not self.run.accelerator.is_main_process
        with tqdm(total=total, desc=f"drawing for steps {step + 1} to {steps[-1] + 1}", unit="image", leave=False, disable=hidden) as bar:
            for part in wanted:
                requests = [Request(position, self.examples[row].prompt, self.data.rows[row]) for _, row, position in part]
                found = self.drawer.draw(cache, member, requests, bar)
                drawn |= {request.position: one for request, one in zip(requests, found, strict=True)}
        return drawn

    def _facts(self, drawn: Sequence[Drawn]) -> dict[str, float]:
        """Means over all processes of what was drawn for a round."""
        names = list(self.drawer.labels)
        rewards = torch.cat([one.rewards for one in drawn]).double()
        sums = [
            torch.tensor([len(drawn), sum(one.counts for one in drawn)]),
            rewards.isfinite().all(1).logical_not().sum()[None],
            rewards.nansum(0),
            rewards.isfinite().sum(0),
        ]
        total: Tensor = torch.cat([part.float() for part in sums]).to(self.run.accelerator.device)
        rows, counted, unscored, *rest = self.run.accelerator.reduce(total, reduction="sum").tolist()
        facts = {} if not names else {"online/kept": counted / rows, "online/unscored": unscored}
        for place, name in enumerate(names):
            facts[f"online/reward/{name}"] = rest[place] / max(rest[len(names) + place], 1)
        return facts


def with_rounds(parts: Parts, examples: Sequence[Example], drawer: Drawer, dry: bool) -> Parts:
    """A run's parts with rounds in place of its data.

    Args:
        dry: draw for one step, and write nothing.
    """
    online: OnlineConfig = parts.config.online
    rounds = Rounds(
        parts, online.model_copy(update={"refresh_steps": 1}) if dry else online, examples, drawer, None if dry else parts.run.output_dir
    )
    parts.run.round_steps = online.refresh_steps
    about = replace(
        parts.about, strengths={**parts.about.strengths, "drawn": said(online, parts.run.plan.rows_per_step, drawer.encoder.frames)}
    )
    return replace(parts, stream=rounds.batches, about=about)


def said(online: OnlineConfig, rows_per_step: int, frames: int | None = None) -> str:
    """Who draws, from which pool, and how many pictures a round, or clips of so many frames, and how these are judged."""
    who = {"newest": "the model as it is then", "uniform": "one of its states so far, any as likely", "first": "the base"}[online.member]
    rows = online.refresh_steps * rows_per_step
    kept = {"opponent": "one against each winner", "pair": "the best and the worst are kept", "ranking": "all are kept"}[online.keep]
    measured = "; it is the reference too" if online.reference == "member" else ""
    what = "pictures" if frames is None else f"clips of {frames} frames"
    judged = f"; {clip_scores(online.judged_frames)}" if frames is not None and online.rewards else ""
    pictures = f"{rows} rows x {online.draws} = {rows * online.draws} {what}"
    return f"{pictures} every {online.refresh_steps} steps by {who} ({kept}){measured}{judged}"


def taken(online: OnlineConfig | None, objective: Objective, examples: Sequence[Example]) -> Sequence[Example]:
    """The examples as the method takes them: with pictures that are drawn during the run, winners or prompts alone."""
    if online is None:
        return views.taken(objective, examples)
    return views.Winners(examples) if online.keep == "opponent" else views.Prompts(examples)


def measures_members(online: OnlineConfig | None) -> bool:
    """Whether the reference is the member that draws."""
    return online is not None and online.reference == "member"
