"""A tiny base in the stock format, a file of pairs, and a configuration over them."""

import numpy as np
import pytest
from PIL import Image

from mmalign.config import from_mapping
from mmalign.data.schema import Example
from mmalign.data.write import write_pickapic
from tests import tiny

TRAIN = {
    "max_train_steps": 6,
    "train_batch_size": 2,
    "learning_rate": 1e-3,
    "checkpointing_steps": 2,
    "logging_steps": 1,
    "report_to": "none",
}


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
    prompts = ["a red circle", "a photo of a cat"]
    write_pickapic([Example(prompts[i % 2], (picture(generator, 190), picture(generator, 60))) for i in range(10)], path)
    return path


@pytest.fixture
def configured(base, pairs, tmp_path):
    """Makes a configuration; keyword arguments change its sections, an adapter is replaced."""

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
            merged = isinstance(fields, dict) and section != "adapter"
            values[section] = {**values.get(section, {}), **fields} if merged else fields
        return from_mapping(values)

    return make
