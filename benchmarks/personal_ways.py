"""Between two rewards, as in PPD: each is a person who judges by nothing else, and the model draws for mixtures of their embeddings."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

REWARDS: Mapping[str, Mapping[str, float]] = {
    "stripes": {"texture": 1.0},
    "white background": {"white": 1.0},
    "large": {"large": 1.0},
    "no stripes": {"texture": -1.0},
    "cyan background": {"cyan": 1.0},
    "small": {"small": 1.0},
}
"""In pairs: from the first to the second, from the third to the fourth, and so on."""
CHOICES = 8  # of each
PROMPTS = 64  # of the split open_final


def ways(folder: Path, seed: int) -> list[dict[str, Any]]:
    """The way between each pair of rewards, the mean over pairs first; from ``ways.json`` in the folder of a finished seed, or measured."""
    file = folder / "ways.json"
    if not file.exists():
        file.write_text(json.dumps(_measured(folder, seed), indent=2) + "\n")
    return json.loads(file.read_text())


def told(seed: int, found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each way: mean scores under both rewards at every share."""
    for way in found:
        names = " to ".join(way["names"] or ["all pairs: first", "second"])
        first, second = (", ".join(f"{mean['value']:+.3f}" for mean in way[side]) for side in ("first", "second"))
        word = "monotone" if way["monotone"] else f"not monotone, {way['turned']} steps back beyond chance"
        yield f"seed {seed}, {names}: {first}; {second}: {word}"


def _measured(folder: Path, seed: int) -> list[dict[str, Any]]:
    from mmalign import demo_personal as demo
    from mmalign import pipelines
    from mmalign.evaluation.personal.evaluate import evaluate
    from mmalign.evaluation.personal.plan import Options
    from mmalign.evaluation.personal.record import interpolation
    from mmalign.evaluation.personal.sides import Sides
    from mmalign.shapes.open_captions import open_prompts
    from mmalign.shapes.settings import CALL

    demo.quiet()
    sides = Sides(pipelines.load("sdxl", demo.BASE), folder / "personal", scale=demo.Recipe().scale, **CALL)
    options = Options(shots=(CHOICES,), main_shots=CHOICES, interpolations=len(REWARDS) // 2, batch_size=demo.BATCH)
    prompts = open_prompts("open_final")[:PROMPTS]
    try:
        found = evaluate(sides.base, sides.personal, _people(folder), prompts, judge, seed=seed + 1, options=options)
    finally:
        sides.close()
    return [interpolation(way) for way in found.interpolations]


def _people(folder: Path) -> list[Any]:
    """Rewards as people, embedded from what they choose among the pictures that the seen people chose among."""
    from mmalign import data
    from mmalign import demo_personal as demo
    from mmalign.data.schema import Example
    from mmalign.evaluation.personal.people import Person
    from mmalign.users.encoder import load_encoder

    pictures: dict[str, dict[bytes, None]] = defaultdict(dict)
    for example in data.load("pickapic", demo.choices_files(folder)[0]):
        pictures[example.prompt] |= dict.fromkeys(example.images)
    encoder = load_encoder(folder / "encoder")
    scored = {prompt: (list(files), _shown(list(files))) for prompt, files in pictures.items()}
    people = []
    for name in REWARDS:
        gaps = []
        for prompt, (files, found) in scored.items():
            scores = taste(name).of(found)
            gaps.append((float(scores.max() - scores.min()), prompt, files[int(scores.argmax())], files[int(scores.argmin())]))
        best = sorted(gaps, key=lambda gap: -gap[0])[:CHOICES]
        choices = [Example(prompt, (chosen, rejected), user_id=name) for _, prompt, chosen, rejected in best]
        people.append(Person(name, "seen", {CHOICES: encoder.embed(choices)}))
    return people


def _shown(files: Sequence[bytes]) -> Tensor:
    from mmalign.images import open_image
    from mmalign.reward import to_tensor
    from mmalign.shapes.tastes import seen

    return seen(torch.stack([to_tensor(open_image(file)) for file in files]))


def judge(images: Tensor, prompts: Sequence[str], people: Sequence[str]) -> Tensor:
    """What each reward says of pictures (N, 3, H, W), (N, people)."""
    from mmalign.shapes.tastes import seen

    found = seen(images)
    return torch.stack([taste(name).of(found) for name in people], dim=1)


def taste(name: str) -> Any:
    """One of the rewards, as somebody who judges by it alone."""
    from mmalign.shapes.tastes import Taste

    return Taste(REWARDS[name])
