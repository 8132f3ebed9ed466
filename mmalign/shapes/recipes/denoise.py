"""How a denoiser is trained: cached latents under seen captions, frozen embeddings, a loss that minds the shape's region.

The background fills most of a picture, so that a plain mean over pixels leaves the shape for last. Here the renderer's own mask
weighs the shape and its edge five times as much. Captions are wrong now and then, as collected ones are: a base that has learned from
them draws clean pictures, but not always of what it is asked for, and preferences have something to put right.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmalign.shapes.captions import prompts
from mmalign.shapes.geometry import distances
from mmalign.shapes.recipes.draws import caption_attributes, random_styles
from mmalign.shapes.recipes.loop import Fit, fit
from mmalign.shapes.render import draw
from mmalign.shapes.scene import ATTRIBUTES

REGION_WEIGHT = 4.0
EDGE = 3.0  # pixels around the shape that belong to its region
EMA = 0.995
DROPOUT = 0.1  # share of captions left out, half as the empty prompt and half as zeros


@dataclass(frozen=True)
class Latents:
    """Clean latents (N, 8, 16, 16), weights (N, 1, 16, 16) with mean one, and the caption (N,) of each as an index."""

    clean: Tensor
    weight: Tensor
    caption: Tensor


@dataclass(frozen=True)
class Conditions:
    """Embeddings of the seen captions, then of the empty prompt, then zeros: (802, L, D), and pooled (802, P)."""

    embeds: Tensor
    pooled: Tensor | None

    def rows(self, index: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.embeds[index], None if self.pooled is None else self.pooled[index]


Noising = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor, Tensor]]
Predict = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


@torch.no_grad()
def cache_latents(vae: nn.Module, draws: int, generator: torch.Generator) -> Latents:
    """Encode ``draws`` random styles of every seen caption."""
    attributes = caption_attributes(prompts("seen"))
    clean, weight = [], []
    for _ in range(draws):
        styles = random_styles(len(attributes), generator)
        pictures = draw(attributes, styles) * 2 - 1
        clean += [vae.encode(chunk).latent_dist.mode() for chunk in pictures.split(100)]
        weight.append(_region_weight(attributes, styles))
    return Latents(torch.cat(clean), torch.cat(weight), torch.arange(len(attributes)).repeat(draws))


@dataclass(frozen=True)
class Round:
    """A stretch of training: its steps, its first learning rate, and the chance that a word about an attribute tells nothing."""

    steps: int
    rate: float
    caption_noise: float = 0.0


def train(
    denoiser: nn.Module,
    predict: Predict,
    noising: Noising,
    latents: Latents,
    conditions: Conditions,
    rounds: Sequence[Round],
    seed: int,
    name: str = "denoiser",
) -> Fit:
    """Train a denoiser in rounds; ``noising(clean, noise, u)`` gives noisy latents, timesteps, targets and weights for u in [0, 1)."""
    records = []
    for index, stretch in enumerate(rounds):
        generator = torch.Generator().manual_seed(seed + 1000 * index)
        batches = _batches(latents, conditions, noising, caption_chances(stretch.caption_noise), generator)

        def loss(step: int, batches: Iterator[Batch] = batches) -> Tensor:
            batch = next(batches)
            difference = predict(batch.noisy, batch.timesteps, batch.embeds, batch.pooled) - batch.target
            return (batch.weight * difference.square()).mean()

        done = fit(denoiser.requires_grad_(True), loss, stretch.steps, stretch.rate, ema=EMA, muon=True, name=name)
        records.append({**asdict(stretch), **done.record})
    return Fit(denoiser, {"rounds": records})


class Batch(NamedTuple):
    """What one step learns from."""

    noisy: Tensor
    timesteps: Tensor
    embeds: Tensor
    pooled: Tensor | None
    target: Tensor
    weight: Tensor


def _batches(
    latents: Latents, conditions: Conditions, noising: Noising, chances: Tensor, generator: torch.Generator, size: int = 32
) -> Iterator[Batch]:
    while True:
        rows = torch.randint(len(latents.clean), (size,), generator=generator)
        clean = latents.clean[rows]
        noise = torch.randn(clean.shape, generator=generator)
        u = (torch.arange(size) + torch.rand(size, generator=generator)) / size
        noisy, timesteps, target, level_weight = noising(clean, noise, u)
        captions = torch.multinomial(chances[latents.caption[rows]], 1, generator=generator)[:, 0]
        embeds, pooled = conditions.rows(_drop(captions, len(conditions.embeds), generator))
        yield Batch(noisy, timesteps, embeds, pooled, target, latents.weight[rows] * level_weight[:, None, None, None])


def caption_chances(noise: float) -> Tensor:
    """Chance (800, 800) of each seen caption for a picture of each: every word is drawn anew with this chance, from the seen ones."""
    attributes = caption_attributes(prompts("seen"))
    chances = torch.ones(len(attributes), len(attributes))
    for column, words in zip(attributes.unbind(1), ATTRIBUTES.values(), strict=True):
        chances *= noise / len(words) + (1 - noise) * (column[:, None] == column)
    return chances / chances.sum(1, keepdim=True)


def diffusion_noising(alphas_cumprod: Tensor, prediction: str) -> Noising:
    """Noising of a DDPM schedule with the target of ``epsilon`` or ``v_prediction``.

    The error of the noise is weighed by one over the signal's power, which makes it the error of v: unweighted, it leaves what is
    settled at high noise, as the background's color is, for last.
    """

    def noising(clean: Tensor, noise: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        timesteps = (u * len(alphas_cumprod)).long()
        signal, sigma = (x.sqrt()[:, None, None, None] for x in (alphas_cumprod[timesteps], 1 - alphas_cumprod[timesteps]))
        target = noise if prediction == "epsilon" else signal * noise - sigma * clean
        weight = 1 / alphas_cumprod[timesteps] if prediction == "epsilon" else torch.ones_like(u)
        return signal * clean + sigma * noise, timesteps, target, weight

    return noising


def flow_noising(shift: float) -> Noising:
    """Noising of rectified flow, with SD3's shift of the noise levels and its timesteps in [0, 1000]."""

    def noising(clean: Tensor, noise: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        sigma = shift * u / (1 + (shift - 1) * u)
        level = sigma[:, None, None, None]
        return (1 - level) * clean + level * noise, 1000 * sigma, noise - clean, torch.ones_like(u)

    return noising


def _drop(captions: Tensor, rows: int, generator: torch.Generator) -> Tensor:
    """Some of the caption indices replaced by the last two rows."""
    draw_ = torch.rand(len(captions), generator=generator)
    dropped = torch.where(draw_ < DROPOUT / 2, rows - 1, rows - 2)
    return torch.where(draw_ < DROPOUT, dropped, captions)


def _region_weight(attributes: Tensor, styles: Tensor) -> Tensor:
    size, _, shape, position, _ = attributes.unbind(1)
    region = (distances(size, shape, position, styles[:, 3]) < EDGE).float()[:, None]
    weight = 1 + REGION_WEIGHT * F.avg_pool2d(region, 4)
    return weight / weight.mean((1, 2, 3), keepdim=True)
