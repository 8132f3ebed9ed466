"""Options of the command line change a configuration by the rules that hold for the file."""

import logging

import pytest

from mmalign.config import EvaluateConfig, FullConfig, load_config
from mmalign.errors import UserError

FILE = """
model: {pretrained: shapes/sdxl}
adapter: {name: lora, rank: 8}
data: {source: pairs.parquet}
method: {name: diffusion_dpo, beta: 5000}
validation: {prompts: [a, b]}
output_dir: runs/x
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "cfg.yaml"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize(
    ("options", "key", "value"),
    [
        (["--train.learning-rate", "1e-5"], "train.learning_rate", 1e-5),
        (["--train.learning_rate=1e-5"], "train.learning_rate", 1e-5),
        (["--method.beta", "100"], "method.beta", 100.0),
        (["--train.gradient-checkpointing"], "train.gradient_checkpointing", True),
        (["--train.gradient-checkpointing", "false"], "train.gradient_checkpointing", False),
        (["--train.max-grad-norm", "None"], "train.max_grad_norm", None),
        (["--train.mixed-precision", "no"], "train.mixed_precision", "no"),
        (["--model.revision", "1e5"], "model.revision", "1e5"),
        (["--adapter.targets", "to_q", "to_k"], "adapter.targets", ["to_q", "to_k"]),
        (["--adapter.rank", "4"], "adapter.rank", 4),
        (["--validation.prompts", "a red fox"], "validation.prompts", ["a red fox"]),
        (["--validation.prompts"], "validation.prompts", []),
        (["--data.columns", "{caption: text}"], "data.columns", {"caption": "text"}),
        (["--seed", "1", "--seed", "2"], "seed", 2),
    ],
)
def test_an_option_changes_its_key_and_no_other(path, options, key, value):
    config, before = load_config(path, options).model_dump(), load_config(path).model_dump()
    section, name = ("." + key).rsplit(".", 1)
    place, old = (config, before) if not section else (config[section[1:]], before[section[1:]])
    assert place[name] == value
    place[name] = old[name]
    assert config == before


def test_a_key_that_the_file_lacks_may_come_from_an_option(tmp_path):
    path = tmp_path / "cfg.yaml"
    path.write_text("model: {pretrained: shapes/sdxl}")
    config = load_config(path, ["--method.name", "dpo", "--method.beta", "0.2", "--data.source", "x", "--output-dir", "y"])
    assert (config.method.name, config.method.beta, config.data.source) == ("dpo", 0.2, "x")


def test_another_method_starts_from_its_own_defaults_and_says_what_is_left_out(path, caplog):
    with caplog.at_level(logging.WARNING):
        config = load_config(path, ["--method.name", "dpo"])
    assert config.method.fields() == {"beta": 0.1, "score_temperature": None, "label_smoothing": 0.0}
    assert "method.beta of the file is not used" in caplog.text


def test_the_same_method_named_again_keeps_the_fields_of_the_file(path):
    assert load_config(path, ["--method.name=diffusion_dpo"]).method.beta == 5000


def test_another_method_has_its_own_options(path, tmp_path, monkeypatch):
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "margin.py").write_text(
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Margin:\n    width: float = 1.0\nPLUGIN = Margin\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = load_config(path, ["--method.name", "ours.margin", "--method.width", "3"])
    assert config.method.fields() == {"width": 3.0}
    with pytest.raises(UserError, match="unknown option '--method.beta'"):
        load_config(path, ["--method.name", "ours.margin", "--method.beta", "3"])
    with pytest.raises(UserError, match="unknown option '--method.width'"):
        load_config(path, ["--method.width", "3"])


def test_another_adapter_has_its_own_options(path):
    assert load_config(path, ["--adapter.name", "full"]).adapter == FullConfig()
    with pytest.raises(UserError, match="unknown option '--adapter.rank'"):
        load_config(path, ["--adapter.name", "full", "--adapter.rank", "3"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--train.learning-rat", "1"], "unknown option '--train.learning-rat'; did you mean '--train.learning-rate'?"),
        (["--qqqqqqq"], "unknown option '--qqqqqqq'; see --help"),
        (["stray"], "'stray' on the command line belongs to no option"),
        (["--seed"], "--seed takes one value, not 0"),
        (["--seed", "1", "2"], "--seed takes one value, not 2"),
        (["--seed", "-1"], "command line: seed is '-1', it should be greater than or equal to 0"),
        (["--train.max-train-steps", "abc"], "command line: train.max_train_steps is 'abc', it should be a valid integer"),
        (["--method.beta", "-1"], "with the command line's options: method: beta is -1.0"),
        (["--method.name", "mapooo"], "method.name: unknown name 'mapooo'"),
        (["--adapter.name", "lorra"], "adapter.name: unknown name 'lorra' among adapters; did you mean 'lora'?"),
        (["--data.columns", "{a"], "--data.columns, line 1: cannot be read as YAML"),
        (["--train.scale-lr", "maybe"], "train.scale_lr is 'maybe', it should be true or false"),
        (["--validation.prompts", "a", "--validation.prompts=b"], "--validation.prompts is given twice; write all its values after one"),
    ],
)
def test_a_mistake_is_one_sentence(path, options, said):
    with pytest.raises(UserError) as caught:
        load_config(path, options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_cannot_mend_a_section_that_is_none(tmp_path):
    path = tmp_path / "cfg.yaml"
    path.write_text("train: 5")
    with pytest.raises(UserError, match="train is 5 in the file, it should be a section of keys"):
        load_config(path, ["--train.learning-rate", "1"])


def test_help_lists_the_keys_of_the_method_with_the_values_in_force(path, capsys):
    with pytest.raises(SystemExit) as ended:
        load_config(path, ["--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--method.beta" in text
    assert "5000" in text
    assert "pairs per device" in text


def test_an_evaluation_needs_no_file():
    options = ["--pretrained", "shapes/sdxl", "--adapter-path", "x", "--output-dir", "y", "--aligned-to", "ana", "--rewards", "oracle"]
    config = load_config(None, [*options, "{name: taste, label: ana}"], EvaluateConfig)
    assert [reward.title for reward in config.rewards] == ["oracle", "ana"]
    with pytest.raises(UserError, match="command line: the key 'rewards' is missing; give --rewards"):
        load_config(None, ["--seed", "1"], EvaluateConfig)
