"""A configuration that was saved is the configuration that is loaded."""

import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mmalign.config import EvaluateConfig, RunConfig, from_mapping, load_config, save_resolved, yaml_file

# texts that could be taken for something else, and any other
odd = ["no", "1e-4", "010", "null", "None", "2024-01-01", "1:30", "~", "", " x ", "<<", "=", "a: b", "\u0085", "0x1"]
texts = st.sampled_from(odd) | st.text(max_size=12)
floats = st.floats(min_value=1e-300, max_value=1e300, exclude_min=True)
optional = st.none() | st.integers(1, 10**6)
dtypes = st.sampled_from(["float32", "float16"])
precisions = st.sampled_from(["no", "bf16"])
loras = st.fixed_dictionaries({"name": st.just("lora"), "rank": st.integers(1, 512), "targets": st.none() | st.lists(texts, min_size=1)})
some = settings(max_examples=60, deadline=None)

runs = st.fixed_dictionaries(
    {
        "model": st.fixed_dictionaries({"pretrained": texts, "family": st.none() | texts, "dtype": dtypes}),
        "adapter": st.just({"name": "full"}) | loras,
        "data": st.fixed_dictionaries({"source": texts, "columns": st.dictionaries(texts, texts, max_size=2), "limit": optional}),
        "method": st.fixed_dictionaries({"name": st.sampled_from(["dpo", "diffusion_dpo"]), "beta": floats}),
        "train": st.fixed_dictionaries({"learning_rate": floats, "mixed_precision": precisions, "max_grad_norm": st.none() | floats}),
        "validation": st.fixed_dictionaries({"prompts": st.lists(texts, max_size=3)}),
        "output_dir": st.just("runs/x"),
        "seed": st.integers(0, 2**63),
    }
)


def saved_and_loaded(config, kind):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sub" / "config.yaml"
        save_resolved(config, path)
        assert sorted(p.name for p in path.parent.iterdir()) == ["config.yaml"]
        return load_config(path, [], kind)


@some
@given(runs)
def test_a_run_comes_back_as_it_was(values):
    config = from_mapping(values)
    assert saved_and_loaded(config, RunConfig) == config


@some
@given(st.lists(texts, min_size=2, max_size=2, unique=True), st.floats(0, 50))
def test_an_evaluation_comes_back_as_it_was(labels, guidance):
    rewards = [{"name": "oracle", "label": labels[0]}, {"name": "taste", "label": labels[1]}]
    title = labels[0] or "oracle"
    assume((labels[1] or "taste") != title)
    places = {"pretrained": "a", "adapter_path": "b", "output_dir": "c"}
    config = from_mapping({**places, "aligned_to": title, "rewards": rewards, "guidance_scale": guidance}, EvaluateConfig)
    assert saved_and_loaded(config, EvaluateConfig) == config


@pytest.mark.parametrize(
    ("text", "value"), [("1e-4", 1e-4), ("5E3", 5000.0), (".5", 0.5), ("1.", 1.0), ("-2e+3", -2000.0), ("3", 3), ("-0.0", 0.0)]
)
def test_numbers_are_numbers(text, value):
    read = yaml_file.parse(text, "here")
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("text", ["no", "yes", "on", "off", "2024-01-01", "1:30", "010", "e4", "1e", "."])
def test_words_are_words(text):
    assert yaml_file.parse(text, "here") == text


def test_stock_yaml_would_have_read_another_thing():
    assert yaml.safe_load("1e-4") == "1e-4"
    assert yaml.safe_load("no") is False
