"""Questions of the world as a chat puts them: to one picture, to one of several by its name, to several together, and to a clip."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from mmalign.shapes.captions import parse
from mmalign.shapes.questions import CLIP, ONE, SEVERAL, Question, about_clip, about_one, about_several, alone, clip
from mmalign.shapes.scene import FACTORS, Scene, Style

SETS = ("one", "named", "together", "clips")
"""What is asked about: one picture, one of several by its name, several that only together answer, four frames of a clip."""
FRAMES = 4


@dataclass(frozen=True)
class Asked:
    """A question as it is put.

    Attributes:
        content: the user's turn, with a place for each picture.
        scenes: what the pictures show.
        target: which of several pictures it is about, from 0 on; None = no single one is named.
    """

    content: tuple[Mapping[str, str], ...]
    scenes: tuple[Scene, ...]
    question: Question
    target: int | None = None


def asked_of_one(question: Question) -> Asked:
    """A question about one picture."""
    return Asked(({"type": "image"}, {"type": "text", "text": f"\n{question.text}"}), question.scenes, question)


def asked_of_several(question: Question, scenes: Sequence[Scene], target: int | None = None) -> Asked:
    """A question put to several pictures, by name where it is about one of them; as ``multi_image.sequence`` writes it."""
    content: list[Mapping[str, str]] = []
    for number in range(len(scenes)):
        content += [{"type": "text", "text": f"{chr(10) if number else ''}Image{number + 1}:"}, {"type": "image"}]
    text = question.text if target is None else f"In Image{target + 1}, {question.text[:1].lower()}{question.text[1:]}"
    return Asked((*content, {"type": "text", "text": f"\n{text}"}), tuple(scenes), question, target)


def draw(captions: Sequence[str], kind: str, count: int, numbers: Random) -> Asked:
    """A question at random, about scenes with these captions in any style.

    Args:
        kind: one of ``SETS``.
        count: of pictures, where there are several.
    """
    known = {"one": ONE, "named": ONE, "together": SEVERAL, "clips": CLIP}[kind]
    return put(captions, kind, numbers.choice(known), count, numbers)


def put(captions: Sequence[str], kind: str, about: str, count: int, numbers: Random) -> Asked:
    """A question of one kind, otherwise at random.

    Args:
        about: of the kinds of questions, one that fits ``kind``.
        count: of pictures, where there are several.
    """
    if kind == "one":
        return asked_of_one(about_one(scene_of(captions, numbers), about, numbers))
    if kind == "clips":
        frames = clip(scene_of(captions, numbers), FRAMES, numbers)
        return asked_of_several(about_clip(frames, about), frames)
    scenes = [scene_of(captions, numbers) for _ in range(count)]
    while about == "which" and not alone(scenes):
        scenes = [scene_of(captions, numbers) for _ in range(count)]
    if kind == "together":
        return asked_of_several(about_several(scenes, about, numbers), scenes)
    return _named(scenes, about, numbers)


def again(scenes: Sequence[Scene], kind: str, numbers: Random) -> Asked:
    """Another question at random about the same pictures."""
    if kind == "one":
        return asked_of_one(about_one(scenes[0], numbers.choice(ONE), numbers))
    if kind == "clips":
        return asked_of_several(about_clip(scenes, numbers.choice(CLIP)), scenes)
    if kind == "together":
        return asked_of_several(about_several(scenes, numbers.choice(SEVERAL if alone(scenes) else ["count"]), numbers), scenes)
    return _named(scenes, numbers.choice(ONE), numbers)


def _named(scenes: Sequence[Scene], about: str, numbers: Random) -> Asked:
    target = numbers.randrange(len(scenes))
    return asked_of_several(about_one(scenes[target], about, numbers), scenes, target)


def scene_of(captions: Sequence[str], numbers: Random) -> Scene:
    """A scene with one of some captions, in any style."""
    style = Style(**{factor: numbers.random() for factor in FACTORS})
    return Scene(**parse(numbers.choice(captions)), style=style)
