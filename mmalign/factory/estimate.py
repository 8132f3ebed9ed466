"""What a whole set would cost, from one batch of each model under each reward."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

from PIL import Image
from torch import Tensor

from mmalign.config.generate import FPS, GenerateConfig
from mmalign.config.synth import SynthConfig
from mmalign.data.films import is_clip, sampled
from mmalign.diffusion.draw import eight_bits
from mmalign.factory.encode import encoded
from mmalign.factory.generate import distinct
from mmalign.factory.looks import look
from mmalign.factory.memory import let_go
from mmalign.factory.models import Models
from mmalign.factory.requests import Plan, Request
from mmalign.factory.shown import size_of
from mmalign.factory.synth import drawing_of
from mmalign.frames import score_clips
from mmalign.images import open_image
from mmalign.prompts import load_prompts
from mmalign.scoring.terminal import aligned, cut

Result = TypeVar("Result")

LOOKS = 8
"""Pictures that are opened as ranking does, to see how long it takes."""


@dataclass(frozen=True)
class Cost:
    """What one model or reward costs.

    Attributes:
        stage, what: which.
        count: pictures in all.
        seconds, size: for a picture, in seconds and bytes written.
    """

    stage: str
    what: str
    count: int
    seconds: float
    size: float = 0.0


@dataclass(frozen=True)
class Sample:
    """A picture that was drawn to try."""

    request: Request
    content: bytes

    def frames(self, count: int) -> list[Image.Image]:
        """The picture alone, or some frames of the clip."""
        return sampled(self.content, count) if is_clip(self.content) else [open_image(self.content)]


def estimate(config: SynthConfig) -> str:
    """Counts, sizes and times of a recipe; draws one batch by each model, scores it under each reward, and writes nothing.

    Raises:
        UserError: prompts, models or rewards cannot be used.
    """
    drawing, samples = drawing_of(config), list[Sample]()
    with closing(Models(drawing)) as models:
        plan = Plan(distinct(load_prompts(config.prompts)[: config.limit]), config.generate, models.films)
        costs = list(_drawing(drawing, models, plan, samples))
    costs += [*_scoring(config, plan, samples), _ranking(plan, samples)]
    asked = f"{_many(len(plan.prompts), 'prompt')}, {_many(len(config.generate.models), 'model')}"
    asked += f", {config.generate.seeds_per_prompt} per prompt and model"
    made = f"{_many(sum(plan.sizes), 'picture')} in {_many(len(plan.shards), 'file')}, {_many(len(config.score.rewards), 'reward')}"
    return f"{asked}: {made}\n\n{_table(costs)}\n\n{_sum(costs)}"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _drawing(drawing: GenerateConfig, models: Models, plan: Plan, samples: list[Sample]) -> Iterator[Cost]:
    for number, model in enumerate(drawing.models):
        first = next(place for place, shard in enumerate(plan.shards) if shard.model == number)
        batch = next(plan.batches_of(first))
        models.open(number)
        pictures, seconds = _timed(lambda m=number, b=batch: _pictures(models, m, b))
        contents = [encoded(picture, drawing.image_format, drawing.quality, drawing.fps or FPS) for picture in pictures]
        samples += [Sample(request, content) for request, content in zip(batch, contents, strict=True)]
        size = sum(map(len, contents)) / len(contents)
        yield Cost("generate", model.title, plan.per_model, seconds / len(batch), size)


def _pictures(models: Models, number: int, batch: list[Request]) -> Tensor:
    drawn = models.draw(number, [request.prompt for request in batch], [request.noise_seed for request in batch])
    return eight_bits(drawn.pictures.nan_to_num())


def _scoring(config: SynthConfig, plan: Plan, samples: list[Sample]) -> Iterator[Cost]:
    images, prompts = [sample.frames(config.score.judged_frames) for sample in samples], [sample.request.prompt for sample in samples]
    for section in config.score.filled_rewards():
        reward = section.build()
        score_clips(reward, images[:1], prompts[:1])  # some load at the first call
        _, seconds = _timed(lambda r=reward: score_clips(r, images, prompts))
        yield Cost("score", section.title, sum(plan.sizes), seconds / len(samples))
        del reward
        let_go()


def _ranking(plan: Plan, samples: list[Sample]) -> Cost:
    """Pictures are opened once, and at most all of them are written once more."""
    tried = samples[:LOOKS]
    _, seconds = _timed(lambda: [look(0, sample.content, "") for sample in tried])
    return Cost("rank", "", sum(plan.sizes), seconds / len(tried), sum(len(sample.content) for sample in samples) / len(samples))


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """What a function gives, and the seconds it took."""
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def _table(costs: list[Cost]) -> str:
    head = ["stage", "by", "pictures", "s each", "time", "size"]
    rows = [
        [cost.stage, cut(cost.what, 32, end=True), f"{cost.count:,}", f"{cost.seconds:.3g}", span(cost.seconds * cost.count), _size(cost)]
        for cost in costs
    ]
    return "\n".join(aligned([head, *rows], left=(0, 1)))


def _size(cost: Cost) -> str:
    most = "at most " if cost.stage == "rank" else ""
    return f"{most}{size_of(cost.size * cost.count)}" if cost.size else "-"


def _sum(costs: list[Cost]) -> str:
    seconds = sum(cost.seconds * cost.count for cost in costs)
    size = sum(cost.size * cost.count for cost in costs)
    return f"about {span(seconds)} by one process here, without the loading of models; at most {size_of(size)} on the disk"


def span(seconds: float) -> str:
    """A length of time in its two largest units.

    >>> span(0.4), span(75), span(7300), span(200_000)
    ('0.4 s', '1 min 15 s', '2 h 1 min', '2 d 7 h')
    """
    if seconds < 60:
        return f"{seconds:.2g} s"
    units = [("s", 60), ("min", 60), ("h", 24), ("d", 10**9)]
    number, parts = round(seconds), []
    for name, size in units:
        number, rest = divmod(number, size)
        parts.append((rest, name))
    shown = [f"{count:,} {name}" for count, name in reversed(parts) if count][:2]
    return " ".join(shown)
