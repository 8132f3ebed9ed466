"""ComfyUI's own loader on what is exported, where the environment names a checkout of it (COMFYUI); else skipped."""

import os

import pytest
from safetensors.torch import load_file, save_file

from benchmarks import comfyui_loads
from mmalign.delivery.readers import READERS

pytestmark = pytest.mark.skipif("COMFYUI" not in os.environ, reason="needs a checkout of ComfyUI, which COMFYUI names")
CASES = [
    pytest.param(name, form, id=f"{name} {form}")
    for name, (pipeline, *_) in comfyui_loads.MODELS.items()
    for form, known in READERS.items()
    if pipeline in known
]


@pytest.mark.parametrize("form", READERS)
@pytest.mark.parametrize("name", comfyui_loads.ENCODERS)
def test_comfyui_loads_the_text_encoders_too(name, form, tmp_path):
    found = comfyui_loads.loaded(name, form, tmp_path, encoders=True)
    assert found.warnings == ()
    assert found.apart < 1e-5


@pytest.mark.parametrize(("name", "form"), CASES)
def test_comfyui_loads_every_key_and_adds_what_was_trained(name, form, tmp_path):
    found = comfyui_loads.loaded(name, form, tmp_path)
    assert found.warnings == ()
    assert found.patched > 0
    assert found.unknown == 0
    assert found.apart < 1e-5


def test_a_key_that_is_not_loaded_is_seen(tmp_path, monkeypatch):
    def renamed(*given, **named):
        place = export(*given, **named)
        tensors = load_file(place)
        tensors["lora_unet_nowhere.lora_up.weight"] = tensors.pop(next(name for name in tensors if name.endswith("lora_up.weight")))
        save_file(tensors, place)
        return place

    export = comfyui_loads.export
    monkeypatch.setattr(comfyui_loads, "export", renamed)
    assert any("lora key not loaded: lora_unet_nowhere" in said for said in comfyui_loads.loaded("wan", "kohya", tmp_path).warnings)
