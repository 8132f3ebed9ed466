"""Whole runs of methods for pairs: soft labels, weights of rows, targets from scores, and what a method without a reference saves."""

import json
import math

import numpy as np
import pytest
import torch

from mmalign import pipelines
from mmalign.data.schema import Example
from mmalign.errors import UserError
from mmalign.training.run import train
from tests.training.conftest import PROMPTS, picture

MAPO = {"name": "mapo", "beta": 0.1}
FULL = {"name": "full"}
ONCE = {"max_train_steps": 1}


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def examples(count=4, **said):
    draws = np.random.default_rng(0)
    return [Example(PROMPTS[i % 2], (picture(draws, 190), picture(draws, 60)), origin=f"row {i}", **said) for i in range(count)]


@pytest.mark.parametrize("adapter", [{"name": "lora", "rank": 4}, FULL], ids=lambda adapter: adapter["name"])
@pytest.mark.parametrize("method", ["mapo", "mapo_paper"])
def test_a_run_without_a_reference_asks_for_none(configured, monkeypatch, method, adapter):
    monkeypatch.setattr("mmalign.training.trainable.copy_of", None)
    log = metrics(train(configured(method={"name": method, "beta": 1.0}, adapter=adapter, train={"max_train_steps": 2})))
    assert len(log) == 2
    assert log[0]["loss"] == pytest.approx(log[0]["sft_loss"] + log[0]["margin_loss"], rel=1e-5)
    assert log[1]["loss"] != log[0]["loss"]


def test_training_with_mapo_lowers_its_loss(configured):
    log = metrics(train(configured(method=MAPO, adapter=FULL, train={"max_train_steps": 16, "checkpointing_steps": 100})))
    losses = [line["loss"] for line in log]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])  # the five batches of an epoch


def test_full_training_without_a_reference_gives_the_users_pipeline_back(configured, base):
    pipe = pipelines.open_pipeline(base)
    before = {name: tensor.clone() for name, tensor in pipe.unet.state_dict().items()}
    train(configured(method=MAPO, adapter=FULL, train={"max_train_steps": 2}), pipe=pipe)
    assert all(torch.equal(before[name], tensor) for name, tensor in pipe.unet.state_dict().items())


@pytest.mark.parametrize(
    ("method", "adapter", "said"),
    [
        (MAPO, FULL, "none: the method needs none"),
        ({"name": "diffusion_dpo"}, FULL, "a frozen copy of the model, {size:.1f} MiB"),
        ({"name": "diffusion_dpo"}, {"name": "lora"}, "adapter off"),
    ],
    ids=["mapo", "copy", "adapter"],
)
def test_the_summary_says_what_the_reference_is_and_costs(configured, base, capsys, method, adapter, said):
    train(configured(method=method, adapter=adapter), dry_run=True)
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("reference"))
    size = sum(4 * p.numel() for p in pipelines.open_pipeline(base).unet.parameters()) / 2**20
    assert said.format(size=size) in line


def test_the_strength_of_mapo_is_told_in_the_unit_of_dpo(configured, capsys):
    train(configured(method={"name": "mapo"}), dry_run=True)
    assert "effective beta 500" in capsys.readouterr().out


@pytest.mark.parametrize("preference", [0.5, 0.8])
def test_soft_labels_are_trained_on(configured, preference):
    """After one step on a tie there is nothing more to gain; on a probability of 0.8 the loss is above its entropy."""
    method = {"name": "diffusion_dpo", "beta": 50}
    log = metrics(train(configured(method=method, train={"max_train_steps": 3}), examples=examples(preference=preference)))
    assert log[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    entropy = -sum(p * math.log(p) for p in (preference, 1 - preference))
    assert all(line["loss"] >= entropy - 1e-6 for line in log)
    # where nothing is preferred, nothing is learned: only rounding and weight decay of zeros
    assert (log[0]["grad_norm"] == 0) == (preference == 0.5)


def test_a_gap_of_scores_is_the_target_and_must_be_there(configured):
    method = {"name": "diffusion_dpo", "beta": 50, "score_temperature": 1.0}
    by_gap = metrics(
        train(configured("gap", method=method, train={"max_train_steps": 3}), examples=examples(scores=(2.0, 2.0 - math.log(4))))
    )
    by_label = metrics(train(configured("label", method={"beta": 50}, train={"max_train_steps": 3}), examples=examples(preference=0.8)))
    assert [line["loss"] for line in by_gap] == pytest.approx([line["loss"] for line in by_label], rel=1e-4)
    with pytest.raises(UserError, match=r"row 0: it has no score.*score_temperature"):
        train(configured("none", method=method), examples=examples())


def test_the_weight_of_a_row_scales_its_loss_and_its_gradient(configured):
    mild = {"beta": 50}
    plain, half = (metrics(train(configured(f"by {w}", method=mild, train=ONCE), examples=examples(2, weight=w)))[0] for w in (1.0, 0.5))
    assert half["loss"] == pytest.approx(0.5 * plain["loss"], rel=1e-6)
    assert half["grad_norm"] == pytest.approx(0.5 * plain["grad_norm"], rel=1e-5)
    # a row that hardly counts leaves the gradient of the other
    light = examples(2, weight=1e-9)
    alone = metrics(train(configured("alone", method=mild, train=ONCE), examples=[*examples(1), *light[1:]]))[0]
    assert alone["loss"] == pytest.approx(0.5 * plain["loss"], rel=1e-5)
    assert alone["grad_norm"] != pytest.approx(half["grad_norm"], rel=1e-3)
