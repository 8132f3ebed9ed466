"""A model that cannot be asked packed is refused before anything is trained."""

from contextlib import contextmanager

import pytest
import torch

from mmalign.errors import UserError
from mmalign.vlm import policy as policy_module
from mmalign.vlm.encode import Response
from mmalign.vlm.packing import check_packing
from tests.vlm.models import build, picture, turns

CPU = torch.device("cpu")


@contextmanager
def seeing_both_ways(monkeypatch):
    """What a model does that looks at its pictures both ways: packed, it does not."""
    plain = policy_module.visible
    with monkeypatch.context() as patched:
        patched.setattr(policy_module, "visible", lambda segments: plain(segments) & (torch.arange(segments.shape[1]) != 6))
        yield


@pytest.mark.parametrize("name", ["vipllava", "qwen2_5_vl"])
def test_packed_numbers_are_held_against_the_models_own(name, monkeypatch):
    vlm = build(name)
    prompt = vlm.encoder(turns("Which is red?", 1), [Response("the red circle"), Response("no")], [picture(0)])
    check_packing(vlm.policy, prompt, CPU)
    with seeing_both_ways(monkeypatch), pytest.raises(UserError, match="its attention does more than look back"):
        check_packing(vlm.policy, prompt, CPU)
