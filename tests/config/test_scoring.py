"""The configuration of scoring: what excludes what, and keys shared by rewards."""

import pytest

from mmalign.config import ScoreConfig, from_mapping, load_config
from mmalign.errors import UserError

PLUGIN = '''
"""A reward with keys of its own."""
class Placed:
    """x

    Args:
        device: a
        dtype: b
    """
    def __init__(self, device: str = "auto", dtype: str = "float32"): ...
PLUGIN = Placed
'''


def config(**values):
    return from_mapping({"images": ["a.png"], "rewards": ["colorfulness"], **values}, ScoreConfig)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"prompt": "a", "prompts_file": "p.txt"}, "prompts come from prompt or from prompts_file, not from both"),
        ({"prompt": "a", "prompt_column": "text"}, "prompts come from prompt or from prompt_column"),
        ({"prompt": "a", "captions": "metadata"}, "prompts come from prompt or from captions"),
        ({"prompt_column": "text", "captions": "sidecar"}, "prompts come from prompt_column or from captions"),
        ({"out": "scores.txt"}, "out is 'scores.txt'; its name should end in .parquet, .csv or .jsonl"),
        (
            {"rewards": [{"name": "oracle", "label": "error"}]},
            "'error' is a column of every table of scores; give that reward another label",
        ),
        ({"rewards": ["oracle", "oracle"]}, "rewards has 'oracle' twice; give each a label of its own"),
        ({"batch_size": 4}, "none of the rewards has a batch_size; leave batch_size out"),
        ({"images": []}, "images is [], it should have 1 or more"),
        ({"images": "a.png"}, "images is 'a.png', it should be a valid list, as in [a.png]"),
        ({"images": ["a.png", " "]}, "one of the images is an empty word; give a path, or leave it out"),
        ({"rewards": [{"name:oracle": None}]}, "the key 'rewards[0].name' is missing; write {name: NAME, KEY: VALUE}, with a space after"),
        ({"chunk_size": 0}, "chunk_size is 0"),
    ],
)
def test_what_does_not_go_together_is_refused(values, said):
    with pytest.raises(UserError) as error:
        config(**values)
    assert said in str(error.value)


def test_what_goes_together_is_taken():
    config(prompt="a", captions="none")
    config(prompt_column="text", captions="metadata")
    config(out="scores.CSV")


def test_shared_keys_go_to_the_rewards_that_have_them_and_say_nothing_themselves(tmp_path, monkeypatch):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "placed.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    own = {"name": "shared.placed", "dtype": "float16", "label": "own"}
    first, second, third = config(rewards=["shared.placed", own, "oracle"], dtype="bfloat16", device="cuda:1").filled_rewards()
    assert (first.dtype, first.device) == ("bfloat16", "cuda:1")
    assert (second.dtype, second.device) == ("float16", "cuda:1")
    assert third.fields() == {}


def test_shared_keys_reach_rewards_that_others_are_made_of(tmp_path, monkeypatch):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "placed.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    members = ["inner.placed", {"name": "inner.placed", "dtype": "float16", "weight": 2}, "colorfulness"]
    (total,) = config(rewards=[{"name": "weighted_sum", "rewards": members}], dtype="bfloat16").filled_rewards()
    assert [getattr(member, "dtype", None) for member in total.rewards] == ["bfloat16", "float16", None]
    assert [member.weight for member in total.rewards] == [1, 2, 1]
    (part,) = config(
        rewards=[{"name": "long_align", "scorer": "inner.placed", "prompts": "shapes/seen"}], dtype="bfloat16"
    ).filled_rewards()
    assert part.scorer.dtype == "bfloat16"


def test_help_names_the_choices_of_a_key_that_may_be_left_open(capsys):
    with pytest.raises(SystemExit):
        load_config(None, ["--help"], ScoreConfig)
    assert "--dtype float32|bfloat16|float16 " in capsys.readouterr().out
