import pytest
import torch

from mmalign.errors import UserError
from mmalign.scorers.model import ModelReward, find_device


class Bare(ModelReward):
    def _score(self, images, prompts):
        return images


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; give 1 or more"),
        ({"dtype": "float61"}, "dtype is 'float61'; did you mean 'float16'"),
        ({"device": "cpuu"}, "there is no device 'cpuu' here; use .*, or auto"),
    ],
)
def test_a_place_or_format_that_is_none_is_a_sentence(keys, message):
    with pytest.raises(UserError, match=message):
        Bare(**keys)


def test_a_device_has_its_number(monkeypatch):
    # the current device, which "cuda" means, is another one in another thread
    class OnTheSecond:
        device = torch.device("cuda:1")

    asked = []
    monkeypatch.setattr(torch, "empty", lambda size, device: asked.append(str(device)) or OnTheSecond)
    assert [find_device("cuda"), find_device("cuda:1")] == [torch.device("cuda:1")] * 2
    assert asked == ["cuda", "cuda:1"]


def test_a_copy_from_a_device_waits(monkeypatch):
    """One that does not would be read before the numbers have come."""
    copies = []

    class Elsewhere:
        device, dtype = torch.device("cuda:0"), torch.float32

        def is_floating_point(self):
            return True

        def to(self, *target, non_blocking=False):
            copies.append((*target, non_blocking))

    Bare(device="cpu", dtype="bfloat16").to_device(Elsewhere())
    assert copies == [(torch.device("cpu"), torch.bfloat16, False)]


def test_whole_numbers_stay_whole():
    reward = Bare(device="cpu", dtype="bfloat16")
    assert reward.to_device(torch.tensor([1.0, 2.0])).dtype == torch.bfloat16
    assert reward.to_device(torch.tensor([49407])).tolist() == [49407]
