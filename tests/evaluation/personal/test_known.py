"""By which of their choices people are known in an evaluation."""

import json

import pytest
import torch
from PIL import Image

from mmalign.config import EvaluateUsersConfig, from_mapping
from mmalign.data.schema import Example
from mmalign.data.write import write_pickapic
from mmalign.errors import UserError
from mmalign.evaluation.personal import run
from mmalign.evaluation.personal.known import of_choices
from mmalign.evaluation.personal.plan import Options

OPTIONS = Options(shots=(1, 2, 4), main_shots=4)


class Noted:
    """Notes whose prompts it was shown, and embeds their number."""

    def __init__(self):
        self.shown = []

    def embed_many(self, people):
        found = [[example.prompt for example in own] for own in people]
        self.shown += found
        return torch.tensor([float(len(own)) for own in found]).view(-1, 1, 1)


def session(name, prompts, each=3):
    """Neighbors are of one prompt, as in Pick-a-Pic."""
    pictures = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    return [Example(f"{name} {number}", pictures, user_id=name) for number in range(prompts) for _ in range(each)]


def test_people_are_embedded_from_the_first_of_their_choices_unseen_ones_first():
    choices = {name: session(name, 4, 1) for name in ("ann", "ben", "cyd")} | {"few": session("few", 1)}
    encoder = Noted()
    people = of_choices(choices, encoder, ["ann"], OPTIONS, {"seen": 4, "unseen": 1})
    assert [(one.name, one.group, list(one.users)) for one in people] == [("ben", "unseen", [1, 2, 4]), ("ann", "seen", [4])]
    assert encoder.shown == [
        ["ben 0"],
        ["ben 0", "ben 1"],
        [f"ben {number}" for number in range(4)],
        [f"ann {number}" for number in range(4)],
    ]
    assert float(people[0].users[2]) == 2
    with pytest.raises(UserError, match="nobody has 4 choices"):
        of_choices({"few": choices["few"]}, encoder, [], OPTIONS, {"seen": 1, "unseen": 1})


def shown(folder, monkeypatch, seed):
    encoder = Noted()
    monkeypatch.setattr(run, "load_encoder", lambda _: encoder)
    values = {"model": {"pretrained": "x"}, "run_path": str(folder), "choices": {"source": str(folder / "choices.parquet")}, "seed": seed}
    values |= {"judge": "taste", "output_dir": str(folder / "out"), "shots": [1, 2, 4]}
    config = from_mapping(values, EvaluateUsersConfig, "test")
    run.people_in(config, run.options_of(config))
    return encoder.shown


def test_a_configured_evaluation_shows_choices_under_different_prompts_drawn_by_the_seed(tmp_path, monkeypatch):
    write_pickapic([*session("ann", 6), *session("ben", 2)], tmp_path / "choices.parquet")
    (tmp_path / "user_encoder").mkdir()
    (tmp_path / "users.json").write_text(json.dumps({"trained": []}))
    rounds = [shown(tmp_path, monkeypatch, seed) for seed in (0, 0, *range(1, 8))]
    assert rounds[0] == rounds[1]
    assert len({tuple(ann) for _, _, _, _, ann, _ in rounds}) > 4
    for one in rounds:  # by 1, 2 and 4 choices, ann and ben each
        assert [len(set(prompts)) for prompts in one] == [1, 1, 2, 2, 4, 2]
        assert one[4][:2] == one[2]
        assert one[2][:1] == one[0]
