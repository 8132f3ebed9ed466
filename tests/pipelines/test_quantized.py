"""A denoiser in 4 bits under a LoRA. diffusers has that on GPUs alone: with bitsandbytes it is told here that the CPU is one."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mmalign import pipelines
from mmalign.config import from_mapping
from mmalign.diffusion import quantized
from mmalign.errors import UserError
from mmalign.training.run import train
from tests import tiny_families


@pytest.fixture
def on_the_cpu(monkeypatch):
    modules = pytest.importorskip("bitsandbytes.nn.modules")
    # bitsandbytes repacks weights for the CPU's own kernel at the first answer without gradients, in blocks that tiny layers do not fill
    monkeypatch.setattr(modules, "has_avx512bf16", lambda: False)
    from diffusers.quantizers.bitsandbytes.bnb_quantizer import BnB4BitDiffusersQuantizer

    monkeypatch.setattr(quantized, "has_device", lambda: True)
    monkeypatch.setattr(BnB4BitDiffusersQuantizer, "validate_environment", lambda self, *args, **kwargs: None)
    monkeypatch.setattr(BnB4BitDiffusersQuantizer, "update_device_map", lambda self, device_map: {"": "cpu"})


def settings(folder, **sections):
    values = {
        "model": {"pretrained": str(folder / "base"), "quantization": "nf4"},
        "data": {"source": str(folder / "pairs.csv"), "resolution": 16},
        "adapter": {"rank": 2},
        "method": {"name": "diffusion_dpo", "beta": 100},
        "train": {"max_train_steps": 3, "learning_rate": 1e-2, "report_to": "none", "logging_steps": 1, "train_batch_size": 2},
        "output_dir": str(folder / "out"),
    }
    return from_mapping({**values, **sections})


@pytest.fixture
def folder(tmp_path):
    tiny_families.flux().save_pretrained(tmp_path / "base")
    numbers = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        Image.fromarray(numbers.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "pairs.csv").write_text("prompt,chosen,rejected\na red circle,a.png,b.png\na photo of a cat,b.png,a.png\n")
    return tmp_path


@pytest.mark.parametrize("too", [False, True], ids=["denoiser", "text encoder too"])
def test_the_denoiser_alone_is_in_four_bits_and_its_lora_fits_the_plain_base(folder, on_the_cpu, too):
    from bitsandbytes.nn import Linear4bit

    family = pipelines.configured(settings(folder).model)
    kinds = {type(module) for module in family.denoiser.modules() if isinstance(module, torch.nn.Linear)}
    assert kinds == {Linear4bit}
    assert not any(isinstance(module, Linear4bit) for encoder in family.text_encoders.values() for module in encoder.modules())

    out = train(settings(folder, adapter={"rank": 2, "text_encoders": too}))
    metrics = [line for line in (out / "metrics.jsonl").read_text().splitlines() if '"loss"' in line]
    assert f'"loss": {math.log(2)}'[:18] in metrics[0]  # policy and reference are one model at the start, also in 4 bits
    saved = load_file(out / "pytorch_lora_weights.safetensors")
    assert all(tensor.is_floating_point() for tensor in saved.values())
    assert any(tensor.abs().max() > 0 for key, tensor in saved.items() if "lora_B" in key)
    assert any(key.startswith("text_encoder.") for key in saved) is too
    plain = pipelines.open_pipeline(folder / "base")
    plain.load_lora_weights(out)
    assert plain.get_list_adapters()


@pytest.mark.parametrize(
    ("adapter", "said"),
    [({"name": "full"}, "weights of 4 bits cannot be trained"), ({"dora": True}, "adapter.dora does not start at a base of 4 bits")],
)
def test_what_cannot_go_on_four_bits_is_refused(tmp_path, adapter, said):
    with pytest.raises(UserError, match=said):
        settings(tmp_path, adapter=adapter)


def test_without_bitsandbytes_or_a_gpu_one_sentence_says_so(monkeypatch):
    monkeypatch.setattr(quantized, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"mmalign\[train\]"):
        quantized.quantization_of("nf4", "transformer", "bfloat16")
    monkeypatch.setattr(quantized, "find_spec", lambda name: object())
    monkeypatch.setattr(quantized, "has_device", lambda: False)
    with pytest.raises(UserError, match="needs a GPU"):
        quantized.quantization_of("nf4", "transformer", "bfloat16")
