"""Preferences from a model's own pictures: draw several per prompt, score them, keep the best against the worst, or the whole ranking."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from accelerate import PartialState
from torch import Tensor
from tqdm.auto import tqdm

from mmalign import pipelines
from mmalign.candidates import Label, best_and_worst, ranked, scored, weighted
from mmalign.config import PairsConfig
from mmalign.config.generate import FPS
from mmalign.data.schema import Example
from mmalign.data.write import write_pickapic, write_ranked
from mmalign.diffusion.draw import eight_bits
from mmalign.errors import UserError
from mmalign.evaluation.write import check_folder
from mmalign.factory.encode import encoded
from mmalign.frames import JUDGED, said
from mmalign.prompts import load_prompts

Sampler = Callable[[Sequence[str], Sequence[int]], Tensor]


def sample_pairs(
    sampler: Sampler,
    prompts: Sequence[str],
    labels: Mapping[str, Label],
    *,
    per_prompt: int = 4,
    seed: int = 0,
    min_gap: float = 0.0,
    batch_size: int = 16,
    rankings: bool = False,
    judged_frames: int = JUDGED,
    fps: float = FPS,
    progress: bool = True,
) -> Iterator[Example]:
    """Pairs (best, worst) of the pictures drawn for each prompt, preferred first, as they are made: a batch of pictures is held at a time.

    Args:
        sampler: draws pictures (N, 3, H, W) in [0, 1] of prompts and seeds; or clips (N, F, 3, H, W).
        prompts: one pair, or ranking, each at most.
        labels: the rewards that make the label, by name.
        per_prompt: pictures drawn per prompt, two or more.
        seed: decides the pictures' seeds.
        min_gap: pairs whose label scores differ by this or less are left out: a tie says nothing. Of a ranking, best and worst.
        batch_size: pictures drawn at once.
        rankings: all pictures of a prompt, the best first, in place of two; ``never_worse`` then plays no part.
        judged_frames: of a clip, how many are scored.
        fps: frames per second that clips are written with.
        progress: show a bar.

    Raises:
        UserError: fewer than two pictures per prompt, a reward refuses pictures, or no pair is left.
    """
    if per_prompt < 2:
        raise UserError(f"per_prompt is {per_prompt}; a pair needs two pictures or more")
    requests = [(index, draw) for index in range(len(prompts)) for draw in range(per_prompt)]
    choose = _ranking if rankings else best_and_worst
    pictures, kept, first, unscored = torch.empty(0), 0, 0, 0
    with tqdm(total=len(requests), desc="drawing candidates", unit="image", disable=not progress) as bar:
        for start in range(0, len(requests), batch_size):
            part = requests[start : start + batch_size]
            drawn = _draw(sampler, [prompts[i] for i, _ in part], [picture_seed(seed, *r, per_prompt) for r in part])
            pictures = drawn if len(pictures) == 0 else torch.cat([pictures, drawn])
            bar.update(len(part))
            while len(pictures) >= per_prompt:
                group, pictures = pictures[:per_prompt], pictures[per_prompt:]
                scores = scored(group, prompts[first], labels, judged_frames)
                unscored += int((~scores.isfinite()).any(-1).sum())
                order, number = choose(scores, labels, min_gap), first
                first, kept = first + 1, kept + (order is not None)
                bar.set_postfix({"kept": f"{kept} of {first}"} | ({"pictures without a score": unscored} if unscored else {}))
                if order is not None:
                    yield _example(prompts[number], number, group, weighted(scores, labels), order, fps)
    if not kept:
        where = f" ({unscored} of {len(requests)} pictures got no score)" if unscored else ""
        remedy = "draw more, or lower min_gap" if unscored < len(requests) else "look at what the rewards say of one picture"
        raise UserError(f"none of {len(prompts)} prompts gave pictures whose scores differ by more than {min_gap:g}{where}; {remedy}")


def _draw(sampler: Sampler, prompts: list[str], seeds: list[int]) -> Tensor:
    """Pictures (N, 3, H, W) uint8; what is written is what is scored: eight bits."""
    return eight_bits(sampler(prompts, seeds))


def run(config: PairsConfig) -> Path:
    """Draws and labels as configured, and writes the pairs; returns the file.

    Raises:
        UserError: the file is there already or cannot be written, or prompts, rewards or the model cannot be used.
        KeyboardInterrupt: the pairs drawn before it are in the file, if there are any; the message says so.
    """
    if config.output.exists() and not config.overwrite:
        raise UserError(f"{config.output} is there already; give another --output, or --overwrite to draw anew")
    check_folder(config.output.parent)
    prompts = load_prompts(config.prompts)[: config.limit]
    labels = {
        reward.title: Label(reward.build(), config.weights.get(reward.title, 1.0), reward.title in config.never_worse)
        for reward in config.rewards
    }
    settings = {name: getattr(config, name) for name in ("per_prompt", "min_gap", "batch_size", "seed", "judged_frames")}
    settings |= {"rankings": config.keep == "ranking", "fps": config.fps or FPS}
    drawn = _Drawn(sample_pairs(_sampler(config), prompts, labels, **settings))
    if config.keep == "ranking":
        write_ranked(drawn, config.output)
    else:
        write_pickapic(drawn, config.output, seed=config.seed)
    if drawn.stopped:
        raise KeyboardInterrupt(f"interrupted; the {config.keep}s drawn so far, {drawn.count}, are in {config.output}")
    return config.output


class _Drawn:
    """Examples, of which those before Ctrl-C are all, so that their file is finished."""

    def __init__(self, examples: Iterator[Example]):
        self._examples, self.count, self.stopped = examples, 0, False

    def __iter__(self) -> Iterator[Example]:
        try:
            for example in self._examples:
                self.count += 1
                yield example
        except KeyboardInterrupt:
            self.stopped = True
            if not self.count:
                raise


def _sampler(config: PairsConfig) -> Sampler:
    family = pipelines.configured(config.model)
    if family.default_frames is not None:
        tqdm.write(said(config.judged_frames), file=sys.stderr)
    family.pipe.to(PartialState().device)
    call = {"num_inference_steps": config.num_inference_steps, "guidance_scale": config.guidance_scale, **family.sized(**config.size)}

    def sampler(prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        return family.sample(prompts, seeds, batch_size=len(prompts), **call)

    return sampler


def picture_seed(seed: int, index: int, draw: int, per_prompt: int) -> int:
    """The seed of a picture, below 2**32: torch's generator on the CPU drops all bits above. No two pictures of a set share one.

    Sets of other seeds start elsewhere, by the golden ratio, as far from one another as possible.
    """
    return (seed * 2654435769 + index * per_prompt + draw) % 2**32


def _ranking(scores: Tensor, labels: Mapping[str, Label], min_gap: float) -> tuple[int, ...] | None:
    """All the pictures by their label; None where one has no score."""
    order = ranked(scores, labels, min_gap)
    return order if order is not None and len(order) == len(scores) else None


def _example(prompt: str, index: int, pictures: Tensor, total: Tensor, order: Sequence[int], fps: float) -> Example:
    """The pictures (k, 3, H, W) uint8, or clips, with labels (k,), that an order names."""
    images = tuple(encoded(pictures[place], fps=fps) for place in order)
    return Example(prompt, images, scores=tuple(total[place].item() for place in order), origin=f"prompt {index} ({prompt!r})")
