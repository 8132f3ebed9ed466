"""Questions about pictures and clips of the world, with the answers that are right because the scenes are known."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from mmalign.shapes.captions import caption
from mmalign.shapes.scene import ATTRIBUTES, POSITIONS, Scene
from mmalign.vlm.edits import plain

ASKED = {
    "color": "What color is the shape?",
    "shape": "Which shape is it?",
    "size": "Is the shape small or large?",
    "position": "Where is the shape?",
    "background": "What color is the background?",
}
"""Questions about one attribute, answered by one word."""

ONE = (*ASKED, "is", "describe")
"""Kinds of questions about one picture."""
SEVERAL = ("count", "which")
"""Kinds of questions that only several pictures together answer."""
CLIP = ("start", "end", "moves", "clip")
"""Kinds of questions about a clip."""

DESCRIBE = "Describe the picture."
DESCRIBE_CLIP = "Describe what happens."


@dataclass(frozen=True)
class Question:
    """A question and its right answer.

    Attributes:
        kind: one of ``ONE``, ``SEVERAL`` and ``CLIP``.
        scenes: the pictures it is about, or the frames of a clip.
        text: the question, as asked of one picture where it is about one.
        answer: what is right.
    """

    kind: str
    scenes: tuple[Scene, ...]
    text: str
    answer: str


def about_one(scene: Scene, kind: str, draw: Random) -> Question:
    """A question about one picture.

    Args:
        draw: decides what is asked where the kind leaves it open.

    Raises:
        ValueError: unknown kind.
    """
    if kind in ASKED:
        return Question(kind, (scene,), ASKED[kind], getattr(scene, kind))
    if kind == "describe":
        return Question(kind, (scene,), DESCRIBE, caption(scene))
    if kind != "is":
        raise ValueError(f"unknown kind of question {kind!r}; there are: {', '.join(ONE)}")
    shown = draw.random() < 0.5
    claimed = scene if shown else changed(scene, draw.choice(["color", "shape"]), draw)
    return Question(kind, (scene,), f"Is it a {claimed.color} {claimed.shape}?", "yes" if shown else "no")


def about_several(scenes: Sequence[Scene], kind: str, draw: Random) -> Question:
    """A question about several pictures together: how many show something, or which does.

    Raises:
        ValueError: unknown kind, or no picture that alone shows what is asked for.
    """
    if kind == "count":
        attribute = draw.choice(["color", "shape"])
        word = getattr(draw.choice(scenes), attribute) if draw.random() < 0.8 else draw.choice(ATTRIBUTES[attribute])
        number = sum(getattr(scene, attribute) == word for scene in scenes)
        thing = f"a {word} shape" if attribute == "color" else f"a {word}"
        return Question(kind, tuple(scenes), f"How many pictures show {thing}?", str(number))
    if kind != "which":
        raise ValueError(f"unknown kind of question {kind!r}; there are: {', '.join(SEVERAL)}")
    if not (found := alone(scenes)):
        raise ValueError("every picture's shape is in another picture too, so that none can be asked for")
    number = draw.choice(found)
    return Question(kind, tuple(scenes), f"Which picture shows a {scenes[number].color} {scenes[number].shape}?", f"Image{number + 1}")


def alone(scenes: Sequence[Scene]) -> list[int]:
    """Which pictures show a shape of a color that no other one shows."""
    shown = [(scene.color, scene.shape) for scene in scenes]
    return [number for number, pair in enumerate(shown) if shown.count(pair) == 1]


def clip(scene: Scene, frames: int, draw: Random) -> tuple[Scene, ...]:
    """Frames in which the shape jumps once from its place to another, or stays.

    Args:
        frames: two or more.
    """
    if draw.random() < 0.25:
        return (scene,) * frames
    jump = draw.randrange(1, frames)
    return (scene,) * jump + (changed(scene, "position", draw),) * (frames - jump)


def about_clip(frames: Sequence[Scene], kind: str) -> Question:
    """A question about a clip. Raises ValueError for an unknown kind."""
    first, last = frames[0], frames[-1]
    moved = first.position != last.position
    told = {
        "start": ("Where is the shape at the start?", first.position),
        "end": ("Where is the shape at the end?", last.position),
        "moves": ("Does the shape move?", "yes" if moved else "no"),
        "clip": (DESCRIBE_CLIP, told_clip(first, last)),
    }
    if kind not in told:
        raise ValueError(f"unknown kind of question {kind!r}; there are: {', '.join(CLIP)}")
    return Question(kind, tuple(frames), *told[kind])


def told_clip(first: Scene, last: Scene) -> str:
    """What happens between two scenes that differ in the shape's place at most."""
    thing, behind = f"a {first.size} {first.color} {first.shape}", f"on a {first.background} background"
    if first.position == last.position:
        return f"{thing} stays at the {first.position} {behind}"
    return f"{thing} moves from the {first.position} to the {last.position} {behind}"


def changed(scene: Scene, attribute: str, draw: Random) -> Scene:
    """The same scene with another word for one attribute."""
    return replace(scene, **{attribute: draw.choice([word for word in ATTRIBUTES[attribute] if word != getattr(scene, attribute)])})


def is_right(question: Question, answer: str) -> bool:
    """Whether an answer says what is right, whatever its case, blanks and final stop."""
    return plain(answer) == plain(question.answer)


def told_words(text: str) -> list[tuple[str, str, int, int]]:
    """The words of the world in a text: attribute, word, and the characters (start, stop) that it takes.

    Colors and backgrounds share no word, so that a word tells its attribute.
    """
    known = {word: attribute for attribute, words in ATTRIBUTES.items() for word in words}
    return [(known[m[0].lower()], m[0].lower(), m.start(), m.end()) for m in re.finditer(rf"\b({'|'.join(known)})\b", text, re.IGNORECASE)]


def claims(question: Question) -> tuple[list[str], list[str]]:
    """What an answer may say of the pictures: phrases that are true of them, and phrases that are not.

    In a clip a place counts with its preposition, since a start is no end.
    """
    first, last = question.scenes[0], question.scenes[-1]
    named = [name for name in ATTRIBUTES if name != "position" or question.kind not in CLIP]
    true = [getattr(first, name) for name in named]
    false = [word for name in named for word in ATTRIBUTES[name] if word != getattr(first, name)]
    if question.kind in CLIP:
        moved = first.position != last.position
        told = {"from the": first.position, "to the": last.position} | ({} if moved else {"at the": first.position})
        phrases = {f"{lead} {place}": told.get(lead) == place for lead in ("from the", "to the", "at the") for place in POSITIONS}
        phrases |= {"moves": moved, "stays": not moved}
        true += [phrase for phrase, right in phrases.items() if right]
        false += [phrase for phrase, right in phrases.items() if not right]
    return true, false


def hallucinated(question: Question, answer: str) -> list[tuple[int, int]]:
    """Characters (start, stop) of the words of an answer that name what is not in the pictures.

    In a clip a place is right only where the shape is at that time: the first that is named is its start, the last its end.
    """
    first, last = question.scenes[0], question.scenes[-1]
    places = [i for i, (attribute, *_) in enumerate(told_words(answer)) if attribute == "position"]
    wrong = []
    for i, (attribute, word, start, stop) in enumerate(told_words(answer)):
        meant = last if attribute == "position" and len(places) > 1 and i == places[-1] else first
        if word != getattr(meant, attribute):
            wrong.append((start, stop))
    return wrong
