"""HPSv2's benchmark of generators: the mean score of pictures drawn for 800 prompts in each of four styles (arXiv 2306.09341)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmalign.data import Example
from mmalign.errors import UserError
from mmalign.plugins import nearest

STYLES = ("anime", "concept-art", "paintings", "photo")
GROUP = 80
"""Prompts of a group; the published spread is the standard deviation of the means of groups."""
PUBLISHED_SCALE = 100.0
"""HPSv2's scores are published times this."""
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class StyleScore:
    """Mean over groups of ``GROUP`` prompts and standard deviation of the groups' means; ``images`` of ``prompts`` were scored."""

    style: str
    mean: float
    std: float
    images: int
    prompts: int


@dataclass(frozen=True)
class Benchmark:
    """One scorer's table for one folder of pictures.

    Attributes:
        scale: what scores were multiplied by.
        average: mean over all pictures of all styles.
        published: generators with their published means by style and their average, for this scorer; empty where there are none.
        own_weights: where the scorer's weights come from, if not from the place they were published at.
    """

    name: str
    folder: str
    scale: float
    styles: list[StyleScore]
    average: float
    published: list[tuple[str, tuple[float, ...]]]
    own_weights: str | None = None


def benchmark_examples(images: Path, prompts: Path) -> dict[str, list[Example]]:
    """For each style the prompts with the places of their pictures, which may not exist.

    Args:
        images: a folder with a folder for each style, in it ``00000.jpg`` for the first prompt and so on; .png and .webp are taken too.
        prompts: the folder ``benchmark`` of HPDv2, with ``anime.json`` and so on, each a list of texts.

    Raises:
        UserError: a folder or file of a style is missing, or the file holds no list of texts.
    """
    for folder in (images, prompts):
        if not folder.is_dir():
            raise UserError(f"there is no folder {folder}; give HPDv2's folder benchmark for the prompts, and your pictures' folder")
    return {style: _style(images, prompts / f"{style}.json", style) for style in STYLES}


def summarize(style: str, scores: Sequence[float], prompts: int, scale: float) -> StyleScore:
    """The published summary: means of groups of neighbors, a last group may be smaller; their mean and population deviation.

    Raises:
        UserError: there is no score.
    """
    found = scale * np.asarray(scores, dtype=float)
    found = found[np.isfinite(found)]
    if not len(found):
        raise UserError(f"no picture of the style {style!r} has a score; look at the pictures, or at what the scorer says of one")
    means = [found[start : start + GROUP].mean() for start in range(0, len(found), GROUP)]
    return StyleScore(style, float(np.mean(means)), float(np.std(means)), len(found), prompts)


def average(scores: Sequence[Sequence[float]], scale: float) -> float:
    """The mean over the pictures of all styles that have a score."""
    return float(np.nanmean(scale * np.concatenate([np.asarray(part, dtype=float) for part in scores])))


def _style(images: Path, file: Path, style: str) -> list[Example]:
    folder = images / style
    if not folder.is_dir():
        there = sorted(path.name for path in images.iterdir() if path.is_dir())
        raise UserError(f"{images} has no folder {style!r}; {nearest(style, there) if there else 'it has no folders.'}")
    return [
        Example(prompt, (_picture(folder, place),), origin=f"prompt {place} of {file.name}") for place, prompt in enumerate(_texts(file))
    ]


def _texts(file: Path) -> list[str]:
    try:
        prompts = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"cannot read the prompts {file}: {error.strerror}; download benchmark/{file.name} of HPDv2") from error
    except ValueError as error:
        raise UserError(f"{file} is not JSON ({error}); download benchmark/{file.name} of HPDv2 again") from error
    if not isinstance(prompts, list) or not prompts or not all(isinstance(prompt, str) for prompt in prompts):
        raise UserError(f"{file} is no list of texts; give benchmark/{file.name} of HPDv2")
    return prompts


def _picture(folder: Path, place: int) -> Path:
    places = [folder / f"{place:05d}{suffix}" for suffix in _SUFFIXES]
    return next((path for path in places if path.exists()), places[0])
