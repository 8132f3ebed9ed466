"""Rewards inside a reward's configuration: from a file, from the command line, and back."""

import pytest

from mmalign import rewards
from mmalign.config import EvaluateConfig, from_mapping, load_config, save_resolved
from mmalign.errors import UserError

PLACES = {"pretrained": "a", "adapter_path": "b", "output_dir": "c"}
FILE = """
pretrained: a
adapter_path: b
output_dir: c
aligned_to: all
rewards:
  - name: weighted_sum
    label: all
    rewards:
      - {name: taste, weight: -2, user: thin}
      - oracle
      - name: standardized_sum
        weight: 0.5
        rewards: [{name: colorfulness, mean: 40, std: 1e1}]
"""


def load(path, *options):
    return load_config(path, options, EvaluateConfig)


@pytest.fixture
def written(tmp_path):
    def write(text):
        (tmp_path / "cfg.yaml").write_text(text)
        return tmp_path / "cfg.yaml"

    return write


def test_a_file_is_built_into_rewards_in_rewards(written):
    reward = load(written(FILE)).rewards[0].build()
    assert [type(member).__name__ for member in reward.members] == ["UserTaste", "Oracle", "StandardizedSum"]
    assert reward.weights == [-2.0, 1.0, 0.5]
    assert reward.members[2].constants == [(1.0, 40.0, 10.0)]
    assert reward.range == pytest.approx((-2 + 0 - 2, 2 + 5 + 0.5 * 26))


def test_the_command_line_says_the_same(written):
    nested = "{name: weighted_sum, label: all, rewards: [{name: taste, weight: -2, user: thin}, oracle]}"
    config = load(None, "--pretrained", "a", "--adapter-path", "b", "--output-dir", "c", "--aligned-to", "all", "--rewards", nested)
    assert config.rewards[0].build().weights == [-2.0, 1.0]
    assert config.rewards[0].rewards[:2] == load(written(FILE)).rewards[0].rewards[:2]


def test_what_is_saved_is_what_is_loaded(written, tmp_path):
    config = load(written(FILE))
    save_resolved(config, tmp_path / "resolved.yaml")
    assert load(tmp_path / "resolved.yaml") == config
    assert config.model_dump(mode="json")["rewards"][0]["rewards"][0] == {
        "name": "taste", "label": None, "weight": -2.0, "user": "thin", "weights": None,
    }  # fmt: skip


def test_python_takes_the_sections_of_a_configuration(written):
    section = load(written(FILE)).rewards[0]
    assert rewards.load("weighted_sum", rewards=section.rewards).weights == [-2.0, 1.0, 0.5]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("user: thin", "usr: thin", "unknown key 'rewards[0].rewards[0].usr'; did you mean 'user'?"),
        ("std: 1e1", "sdt: 10", "unknown key 'rewards[0].rewards[2].rewards[0].sdt'; did you mean 'std'?"),
        ("mean: 40, ", "", "the key 'rewards[0].rewards[2].rewards[0].mean' is missing"),
        ("weight: -2", "weight: x", "rewards[0].rewards[0].weight is 'x', it should be a valid number"),
        ("- oracle", "- oracel", "rewards[0].rewards[1].name: unknown name 'oracel' among rewards; did you mean 'oracle'?"),
        ("- oracle", "- {reward: oracle}", "the key 'rewards[0].rewards[1].name' is missing"),
        ("name: standardized_sum", "name: log_sigmoid_sum", "unknown key 'rewards[0].rewards[2].rewards[0].mean'"),
    ],
)
def test_a_mistake_names_the_whole_path(written, old, new, said):
    path = written(FILE.replace(old, new))
    with pytest.raises(UserError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: {said}")
    assert "\n" not in str(caught.value)


def test_a_mapping_that_contains_itself_is_refused(written):
    path = written(FILE.split("rewards:")[0] + "rewards: [&sum {name: weighted_sum, rewards: [*sum]}]")
    with pytest.raises(UserError, match="nested at most 8 deep"):
        load(path)


def test_seven_deep_is_allowed():
    nested = {"name": "oracle"}
    for _ in range(7):
        nested = {"name": "weighted_sum", "rewards": [nested]}
    config = from_mapping({**PLACES, "aligned_to": "weighted_sum", "rewards": [nested]}, EvaluateConfig)
    assert config.rewards[0].build().range == (0.0, 5.0)
