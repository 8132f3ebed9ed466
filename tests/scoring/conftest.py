"""Pictures of the shapes world with their captions, and what their scores must be."""

import random

import numpy as np
import pytest
from PIL import Image

from mmalign.config import ScoreConfig, from_mapping
from mmalign.scoring.run import run
from mmalign.shapes.captions import caption
from mmalign.shapes.render import render
from mmalign.shapes.scene import ATTRIBUTES, FACTORS, Scene, Style


def scenes(count):
    draw = random.Random(1)
    return [
        Scene(*(draw.choice(words) for words in ATTRIBUTES.values()), style=Style(*(draw.random() / 2 for _ in FACTORS)))
        for _ in range(count)
    ]


def colorfulness(image):
    """Hasler and Suesstrunk's M3, restated."""
    r, g, b = np.asarray(image.convert("RGB"), dtype=np.float64).reshape(-1, 3).T
    rg, yb = r - g, (r + g) / 2 - b
    return np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())


@pytest.fixture(scope="session")
def captions():
    return [caption(scene) for scene in scenes(12)]


@pytest.fixture(scope="session")
def images():
    pixels = (render(scenes(12)) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(picture) for picture in pixels]


@pytest.fixture(scope="session")
def expected(images):
    """The colorfulness of each picture."""
    return [colorfulness(image) for image in images]


@pytest.fixture
def folder(tmp_path, images, captions):
    """Twelve pictures 0.png to 11.png with their captions beside them."""
    place = tmp_path / "pictures"
    place.mkdir()
    for number, (image, text) in enumerate(zip(images, captions, strict=True)):
        image.save(place / f"{number}.png")
        (place / f"{number}.txt").write_text(f"{text}\n")
    return place


@pytest.fixture
def score():
    """Scores with small chunks and one thread; settings by keyword."""

    def call(images, **settings):
        values = {"images": [str(i) for i in (images if isinstance(images, list) else [images])], "rewards": ["colorfulness"]}
        return run(from_mapping({**values, "workers": 1, "chunk_size": 5, **settings}, ScoreConfig))

    return call
