import json
import subprocess
import sys

import pytest

from mmalign.errors import UserError
from mmalign.scorers.load_clip import load_clip
from mmalign.scorers.open_clip import OpenClip
from mmalign.scorers.transformers_clip import TransformersClip
from tests.scorers import clips


def test_each_library_reads_its_own_folder(tmp_path):
    clips.clip(tmp_path / "transformers")
    clips.open_clip(tmp_path / "open_clip")
    assert isinstance(load_clip(tmp_path / "transformers"), TransformersClip)
    assert isinstance(load_clip(str(tmp_path / "open_clip")), OpenClip)


def test_in_a_folder_of_both_the_prefix_asks_for_open_clip(tmp_path):
    clips.clip(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "kept")
    clips.open_clip(tmp_path)
    (tmp_path / "kept").rename(tmp_path / "model.safetensors")
    assert isinstance(load_clip(tmp_path), TransformersClip)
    assert isinstance(load_clip(f"local-dir:{tmp_path}"), OpenClip)


def test_a_configuration_of_timm_beside_open_clips_is_passed_over(tmp_path):
    clips.open_clip(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "vit_base_patch16_siglip_224"}))
    assert isinstance(load_clip(tmp_path), OpenClip)


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    clips.clip(tmp_path / "a" / "clip")
    clips.open_clip(tmp_path / "a" / "open_clip")
    assert isinstance(load_clip("~/a/clip"), TransformersClip)
    assert isinstance(load_clip("~/a/open_clip"), OpenClip)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("/nowhere/at/all", "there is no CLIP-type model at /nowhere/at/all; give a folder with config.json"),
        ("ViT-L-14", "there is no CLIP-type model at ViT-L-14; .*or open_clip's ARCH:TAG"),
        ("owner/name", "cannot read the configuration of owner/name"),
    ],
)
def test_a_place_with_nothing_is_a_sentence(place, message):
    with pytest.raises(UserError, match=message) as error:
        load_clip(place)
    assert "\n" not in str(error.value)


def test_what_a_model_has_no_use_for_is_refused(tmp_path):
    clips.clip(tmp_path / "transformers")
    clips.open_clip(tmp_path / "open_clip")
    with pytest.raises(UserError, match="arch says what a checkpoint file is of"):
        load_clip(tmp_path / "transformers", arch="ViT-B-32")
    with pytest.raises(UserError, match="leave processor out"):
        load_clip(tmp_path / "open_clip", processor="owner/name")


@pytest.mark.parametrize("make", [clips.clip, clips.open_clip])
def test_a_model_comes_in_evaluation_mode_and_can_be_trained(tmp_path, make):
    make(tmp_path)
    model = load_clip(tmp_path)
    assert not any(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_importing_the_scorers_loads_no_model_library():
    modules = "mmalign.scorers.load_clip, mmalign.rewards.pickscore, mmalign.rewards.hpsv2, mmalign.rewards.aesthetic"
    code = f"import sys, mmalign.rewards.clip_score, {modules}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"open_clip", "transformers", "timm", "huggingface_hub"} & set(loaded)
