"""Captions of the world, and the split of its 1,200 captions into what models see and what is held out."""

import hashlib
import re
from functools import cache

from mmalign.errors import UserError
from mmalign.plugins import nearest
from mmalign.shapes.scene import ATTRIBUTES, BACKGROUNDS, COLORS, POSITIONS, SHAPES, SIZES, Scene, every_scene

SPLITS = {"seen": slice(0, 800), "pairs": slice(0, 320), "tuning": slice(800, 960), "final": slice(960, 1200)}
PREFIX = "shapes/"

_PATTERN = re.compile(
    rf"a (?P<size>{'|'.join(SIZES)}) (?P<color>{'|'.join(COLORS)}) (?P<shape>{'|'.join(SHAPES)})"
    rf" at the (?P<position>{'|'.join(POSITIONS)}) on a (?P<background>{'|'.join(BACKGROUNDS)}) background"
)


def caption(scene: Scene) -> str:
    """The caption of a scene; it says nothing about style."""
    return f"a {scene.size} {scene.color} {scene.shape} at the {scene.position} on a {scene.background} background"


def parse(text: str) -> dict[str, str]:
    """The attributes a caption names, by attribute.

    Raises:
        ValueError: the text is no caption of this world.
    """
    match = _PATTERN.fullmatch(" ".join(text.lower().split()).rstrip(" ."))
    if match is None:
        example = caption(next(every_scene()))
        raise ValueError(f"{text!r} is no caption of the shapes world; one reads {example!r}")
    return {attribute: match[attribute] for attribute in ATTRIBUTES}


def prompts(split: str) -> list[str]:
    """Captions of a split, in an order fixed by a hash.

    ``seen`` (800) trains the base models and ``pairs`` (320) is part of it; ``tuning`` (160) and ``final`` (240) are held out.

    Raises:
        ValueError: unknown split.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; there are: {', '.join(SPLITS)}")
    return list(_shuffled()[SPLITS[split]])


def captions_of(source: str) -> list[str]:
    """Captions of ``shapes/SPLIT``. Raises UserError for an unknown split."""
    split = source.removeprefix(PREFIX)
    if split not in SPLITS:
        raise UserError(f"unknown prompts {source!r}; {nearest(split, list(SPLITS))}")
    return prompts(split)


@cache
def _shuffled() -> tuple[str, ...]:
    return tuple(sorted(map(caption, every_scene()), key=lambda text: hashlib.sha256(text.encode()).digest()))
