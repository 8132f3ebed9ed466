"""What the methods of `methods.py` share: the base's own pictures to learn from, and those that they are compared with.

Lists of pictures are drawn once for each base and seed, ranked by the oracle. A pair is the best and the worst of a list, a winner the
best. The base's pictures of the evaluation's prompts are drawn once too, and read from a file afterwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmalign import data, objectives, pipelines, rewards
from mmalign.candidates import Label
from mmalign.config import DataConfig
from mmalign.data.schema import Example
from mmalign.data.write import write_ranked
from mmalign.diffusion.family import DiffusionFamily
from mmalign.evaluation.evaluate import evaluate
from mmalign.evaluation.plan import Options
from mmalign.evaluation.result import Evaluation
from mmalign.evaluation.sampling import Sampler
from mmalign.files import whole_file
from mmalign.objective import Objective
from mmalign.pairs import sample_pairs
from mmalign.reward import Reward
from mmalign.shapes.captions import prompts
from mmalign.shapes.settings import CALL
from mmalign.training.encode import encode
from mmalign.training.opened import Held

PER_PROMPT = 4
LABELS = "oracle"


@dataclass(frozen=True)
class World:
    """A base with its pictures.

    Attributes:
        family: name of the embedded base.
        seed: of the pictures to learn from; those of the evaluation have the next one.
        folder: where everything of it lies.
        pair_prompts, final_prompts: prompts of the splits ``pairs`` and ``split`` that are used.
        split: of the evaluation; ``tuning`` while settings are chosen.
    """

    family: str
    seed: int
    folder: Path
    pair_prompts: int = 240
    final_prompts: int = 240
    split: str = "final"

    @property
    def lists_file(self) -> Path:
        return self.folder / "lists.parquet"

    @property
    def cache(self) -> Path:
        return self.folder / "encoded"

    @property
    def base_file(self) -> Path:
        return self.folder / f"base_{self.split}.npz"

    def base(self) -> DiffusionFamily:
        """The family, bound to its pipeline."""
        return pipelines.load(self.family, f"shapes/{self.family}")

    def judge(self, base: Sampler, aligned: Sampler) -> Evaluation:
        """Base against aligned under the oracle, which made the labels, and under the learned scorer, which did not."""
        options = Options(pictures=0, extremes=0)
        texts = prompts(self.split)[: self.final_prompts]
        return evaluate(base, aligned, texts, scorers(), LABELS, self.seed + 1, thresholds={LABELS: 5.0}, options=options, progress=False)


def scorers() -> dict[str, Reward]:
    """What the pictures are judged by."""
    return {LABELS: rewards.load(LABELS), "shapes_clip": rewards.load("shapes_clip")}


def prepare(world: World) -> None:
    """Draws what is not there yet, and encodes what is learned from, so that no method pays for it."""
    base = world.base()

    def sampler(texts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        return base.sample(texts, seeds, batch_size=len(texts), **CALL)

    if not world.lists_file.exists():
        label = {LABELS: Label(rewards.load(LABELS))}
        options = {"per_prompt": PER_PROMPT, "seed": world.seed, "rankings": True, "progress": False}
        write_ranked(sample_pairs(sampler, prompts("pairs")[: world.pair_prompts], label, **options), world.lists_file)
    encode(Held(base), lists_of(world), DataConfig(source="lists", cache_dir=world.cache), objectives.load("rankdpo", gains="order"), 0)
    if not world.base_file.exists():
        kept = Kept(world.base_file, sampler)
        world.judge(kept, kept)
        kept.save()


def lists_of(world: World) -> list[Example]:
    """The lists, best first; those whose pictures are all as good are not among them."""
    return list(data.load("ranked", world.lists_file))


def examples_for(objective: Objective, lists: Sequence[Example]) -> tuple[list[Example], int]:
    """What a method learns from, and the pictures of a row: lists where it compares lists, winners, or pairs of best and worst."""
    if objective.takes == "winners":
        return list(lists), 1
    if PER_PROMPT in objective.candidates:
        return list(lists), PER_PROMPT
    ends = [replace(row, images=(row.images[0], row.images[-1]), scores=row.scores and (row.scores[0], row.scores[-1])) for row in lists]
    return ends, 1 if objective.takes == "singles" else 2


class Kept:
    """A sampler that draws a picture once; a file gives it to later processes.

    Args:
        path: the file, read where it is there.
        sampler: draws what is not in it, in whole batches; None = nothing may be missing.
    """

    def __init__(self, path: Path, sampler: Sampler | None = None):
        self.path, self.sampler = path, sampler
        self.pictures: dict[tuple[str, int], np.ndarray] = {}
        if path.exists():
            with np.load(path) as found:
                keys = zip(found["prompts"].tolist(), found["seeds"].tolist(), strict=True)
                self.pictures = dict(zip(keys, found["pictures"], strict=True))

    def __call__(self, texts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """Pictures (N, 3, H, W) in [0, 1]. Raises ValueError where one is missing and may not be drawn."""
        keys = list(zip(texts, seeds, strict=True))
        if any(key not in self.pictures for key in keys):
            if self.sampler is None:
                raise ValueError(f"{self.path} holds other prompts or seeds; remove it")
            self.pictures.update(zip(keys, self.sampler(texts, seeds).numpy(), strict=True))
        return torch.from_numpy(np.stack([self.pictures[key] for key in keys]))

    def save(self) -> None:
        """Writes all of them."""
        texts, seeds = zip(*self.pictures, strict=True)
        with whole_file(self.path) as file:
            np.savez(file, prompts=np.array(texts), seeds=np.array(seeds), pictures=np.stack(list(self.pictures.values())))
