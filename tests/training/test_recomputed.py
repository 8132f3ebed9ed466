"""Activations computed again in the backward pass see the policy, whatever the reference's forward switched on or off before."""

import pytest
from safetensors.torch import load_file

from mmalign.training.run import train
from tests.training.test_guard_runs import LORA, lines
from tests.training.test_online import SEPPO

METHODS = {"adapter off": {"method": {"name": "diffusion_dpo", "beta": 500}}, "earlier adapter": SEPPO}


@pytest.mark.parametrize("settings", METHODS.values(), ids=METHODS.keys())
def test_gradient_checkpointing_changes_no_number(configured, settings, monkeypatch):
    """The reference is the same module with other adapters on: recomputed under them, gradients would be the reference's."""
    plain = train(configured("plain", train={"max_train_steps": 3}, **settings))
    again = count_of("torch.utils.checkpoint.checkpoint", monkeypatch)
    saving = train(configured("saving", train={"max_train_steps": 3, "gradient_checkpointing": True}, **settings))
    assert again[0] > 0
    for one, other in zip(lines(plain), lines(saving), strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-6)
    left, right = load_file(plain / LORA), load_file(saving / LORA)
    assert all(left[name].numpy() == pytest.approx(right[name].numpy(), abs=1e-5) for name in left)


def count_of(name, monkeypatch):
    """How often a function is called from now on, in a list of one number."""
    module, _, function = name.rpartition(".")
    calls = [0]
    found = getattr(__import__(module, fromlist=[function]), function)

    def counted(*arguments, **given):
        calls[0] += 1
        return found(*arguments, **given)

    monkeypatch.setattr(name, counted)
    return calls
