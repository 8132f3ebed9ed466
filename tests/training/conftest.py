"""A tiny base in the stock format, a file of pairs, and a configuration over them."""

import numpy as np
import pytest
from PIL import Image

from mmalign.config import ScorerRunConfig, from_mapping
from mmalign.data.schema import Example
from mmalign.data.write import write_pickapic
from tests import tiny
from tests.scorers import clips

TRAIN = {
    "max_train_steps": 6,
    "train_batch_size": 2,
    "learning_rate": 1e-3,
    "checkpointing_steps": 2,
    "logging_steps": 1,
    "report_to": "none",
}
PROMPTS = ["a red circle", "a photo of a cat"]
SCORER_WEIGHTS = {"clip": "model.safetensors", "siglip": "model.safetensors", "open_clip": "open_clip_model.safetensors"}


def picture(generator, brightness):
    """Noise around a brightness in 0 to 255."""
    values = generator.normal(brightness, 40, (16, 16, 3))
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """Folder of a tiny SD pipeline."""
    folder = tmp_path_factory.mktemp("base")
    tiny.sd().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def pairs(tmp_path_factory):
    """A Parquet file of 10 pairs in which the bright picture is preferred."""
    generator, path = np.random.default_rng(0), tmp_path_factory.mktemp("pairs") / "pairs.parquet"
    write_pickapic([Example(PROMPTS[i % 2], (picture(generator, 190), picture(generator, 60))) for i in range(10)], path)
    return path


@pytest.fixture
def configured(base, pairs, tmp_path):
    """Makes a configuration; keyword arguments change its sections, an adapter or a method with its name is replaced."""

    def make(out="out", **changes):
        values = {
            "model": {"pretrained": str(base)},
            "adapter": {"name": "lora", "rank": 4},
            "data": {"source": str(pairs)},
            "method": {"name": "diffusion_dpo", "beta": 500},
            "train": dict(TRAIN),
            "output_dir": str(tmp_path / out),
        }
        for section, fields in changes.items():
            merged = isinstance(fields, dict) and section != "adapter" and not (section == "method" and "name" in fields)
            values[section] = {**values.get(section, {}), **fields} if merged else fields
        return from_mapping(values)

    return make


@pytest.fixture(scope="session")
def bases(tmp_path_factory):
    """Folders of tiny random models of both libraries."""
    made = {name: tmp_path_factory.mktemp(name) for name in SCORER_WEIGHTS}
    for name, folder in made.items():
        getattr(clips, name)(folder)
    return made


def graded(count, candidates=2, seed=0):
    """Examples in which the brighter picture is preferred under one prompt, the darker one under the other."""
    generator, found = np.random.default_rng(seed), []
    for i in range(count):
        levels = [140 - 24 * k for k in range(candidates)] if i % 2 else [92 + 24 * k for k in range(candidates)]
        images = tuple(picture(generator, level) for level in levels)
        found.append(Example(PROMPTS[i % 2], images, scores=tuple(float(-k) for k in range(candidates)), origin=f"row {i}"))
    return found


@pytest.fixture
def scorer_run(bases, pairs, tmp_path):
    """Makes a configuration that trains a scorer; keyword arguments change its sections."""

    def make(out="out", base="clip", **changes):
        values = {
            "scorer": {"name": "pickscore", "pretrained": str(bases[base])},
            "data": {"source": str(pairs)},
            "method": {"name": "soft_pair"},
            "train": dict(TRAIN),
            "output_dir": str(tmp_path / out),
        }
        for section, fields in changes.items():
            values[section] = {**values.get(section, {}), **fields} if isinstance(fields, dict) else fields
        return from_mapping(values, ScorerRunConfig)

    return make
