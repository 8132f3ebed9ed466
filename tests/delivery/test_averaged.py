"""The averages of a checkpoint are, tensor for tensor, what the run's end would have made of them."""

import pytest
import torch
from safetensors.torch import load_file

from mmalign.delivery.export import export
from mmalign.diffusion.aligned import LORA_FILE
from mmalign.errors import UserError
from mmalign.training.run import train
from tests import tiny
from tests.training.conftest import base, configured, pairs  # noqa: F401 (fixtures)


@pytest.mark.parametrize("too", [False, True])
def test_the_last_checkpoints_averages_are_the_runs_result(configured, too):  # noqa: F811
    adapter = {"name": "lora", "rank": 2, "dora": True, "text_encoders": too}
    out = train(configured(train={"ema_decay": 0.5}, adapter=adapter), pipe=tiny.sdxl())
    result, raw = load_file(out / LORA_FILE), load_file(out / "checkpoint-6" / LORA_FILE)
    tiny.sdxl().save_pretrained(out / "base")
    place = export(out, "ema", pretrained=str(out / "base"))
    averaged = load_file(place / LORA_FILE)
    assert place == out / "checkpoint-6" / "exports" / "ema"
    assert averaged.keys() == result.keys() == raw.keys()
    assert all(torch.equal(averaged[name], result[name]) for name in result)
    assert any(not torch.equal(raw[name], result[name]) for name in result)
    earlier = load_file(export(out / "checkpoint-2", "ema", out=out / "earlier", pretrained=str(out / "base")) / LORA_FILE)
    assert any(not torch.equal(earlier[name], result[name]) for name in result)


def test_so_are_those_of_all_weights(configured):  # noqa: F811
    out = train(configured(train={"ema_decay": 0.5, "max_train_steps": 2}, adapter={"name": "full"}))
    name = "unet/diffusion_pytorch_model.safetensors"
    result, averaged = load_file(out / name), load_file(export(out, "ema") / name)
    assert averaged.keys() == result.keys()
    assert all(torch.equal(averaged[name], result[name]) for name in result)


def test_a_run_without_averages_says_so(configured):  # noqa: F811
    out = train(configured(train={"max_train_steps": 2}))
    with pytest.raises(UserError, match="holds no averaged weights; train with --train.ema-decay"):
        export(out, "ema")
