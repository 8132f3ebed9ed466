"""Two processes that align a vision-language model are one with twice the batch."""

import json

import pytest
from safetensors.torch import load_file

from mmalign.config import ResponseRunConfig, from_mapping
from mmalign.training.run import train
from tests import tiny_vlms
from tests.training.test_processes import launched
from tests.training.test_responses import config, rows_file


def test_two_processes_are_one_with_twice_the_batch(tmp_path):
    """Also where a row is compared with its batch, and where both write what they know of the reference to one folder."""
    base, source = tiny_vlms.make("llava", tmp_path / "base"), rows_file(tmp_path)

    def run(name, rows):
        # with so large an epsilon a step is the gradient's size: rounding does not turn its sign
        made = config(base, source, tmp_path / name, train_batch_size=rows, max_train_steps=4, learning_rate=1.0, adam_epsilon=1.0)
        data = made.data.model_dump(mode="json") | {"reference_cache": str(tmp_path / f"reference of {name}")}
        return from_mapping(made.model_dump(mode="json") | {"data": data, "method": {"name": "bco", "beta": 0.5}}, ResponseRunConfig)

    one, two = train(run("one", 2)), launched(run("two", 1), tmp_path / "two.yaml")
    lines = [list(map(json.loads, (out / "metrics.jsonl").read_text().splitlines())) for out in (one, two)]
    assert len(lines[0]) == len(lines[1]) == 4
    for left, right in zip(*lines, strict=True):
        assert left == pytest.approx(right, rel=1e-3, abs=1e-4)
    first, second = (load_file(out / "adapter_model.safetensors") for out in (one, two))
    assert max((first[name] - second[name]).abs().max() for name in first) < 1e-4
    assert max(tensor.abs().max() for name, tensor in first.items() if "lora_B" in name) > 1e-3
    assert lines[0][-1]["loss"] < lines[0][0]["loss"]
