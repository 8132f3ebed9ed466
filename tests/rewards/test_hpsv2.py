"""HPSv2 against its published formula and preparation, on a tiny model in the published file format."""

import json
import shutil

import open_clip
import pytest
import torch
from open_clip import CLIP

from mmalign import rewards
from mmalign.errors import UserError
from mmalign.scorers.load_clip import load_clip
from mmalign.scorers.preprocess import CLIP_MEAN, CLIP_STD
from tests.rewards.tiny.hpsv2 import fields
from tests.scorers import clips
from tests.scorers.clips import OPEN_CLIP_ARCH
from tests.scorers.pictures import PICTURES, padded

IMAGES = list(PICTURES.values())
PROMPTS = [["a red circle", "a photo of a cat", "two green dogs " * 20, "Été à_la plage!"][i % 4] for i in range(len(IMAGES))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hpsv2")
    fields(folder)
    return folder


@torch.no_grad()
def published(file, images, prompts):
    """The diagonal of the normalized embeddings' products; the longer side at the model's size, black around it."""
    model = CLIP(**OPEN_CLIP_ARCH).eval()
    model.load_state_dict(torch.load(file, weights_only=True)["state_dict"])
    tokens = open_clip.SimpleTokenizer(context_length=OPEN_CLIP_ARCH["text_cfg"]["context_length"])(prompts)
    pixels = torch.stack([padded(image, 32, CLIP_MEAN, CLIP_STD) for image in images])
    seen, text, _ = model(pixels, tokens)
    return torch.diagonal(seen @ text.T)


def test_scores_are_the_published_ones(folder):
    found = rewards.load("hpsv2", pretrained=str(folder)).score(IMAGES, PROMPTS)
    expected = published(folder / "HPS_v2.1_compressed.pt", IMAGES, PROMPTS)
    assert expected.std() > 0.05
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_gradients_flow_through_the_published_preparation(folder):
    reward = rewards.load("hpsv2", pretrained=str(folder))
    pixels = (torch.rand(2, 3, 40, 64, generator=torch.Generator().manual_seed(0)) * 255).round() / 255
    with_gradients = reward.score(pixels.clone().requires_grad_(), "a red circle", differentiable=True)
    assert with_gradients.requires_grad
    torch.testing.assert_close(with_gradients.detach(), reward.score(pixels, "a red circle"), rtol=0, atol=1e-5)


def test_each_version_has_its_file(folder, tmp_path):
    model = clips.lively(CLIP(**OPEN_CLIP_ARCH), seed=1)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "HPS_v2_compressed.pt")
    shutil.copy(folder / "HPS_v2.1_compressed.pt", tmp_path)
    (tmp_path / "open_clip_config.json").write_text(json.dumps(OPEN_CLIP_ARCH))
    for version, file in {"2.0": "HPS_v2_compressed.pt", "2.1": "HPS_v2.1_compressed.pt"}.items():
        found = rewards.load("hpsv2", version=version, pretrained=str(tmp_path)).score(IMAGES[:2], PROMPTS[:2])
        torch.testing.assert_close(found, published(tmp_path / file, IMAGES[:2], PROMPTS[:2]), rtol=0, atol=1e-5)


def test_a_file_and_its_architecture_may_be_given(folder, tmp_path):
    shutil.copy(folder / "HPS_v2.1_compressed.pt", tmp_path / "mine.pt")
    (tmp_path / "arch.json").write_text(json.dumps({"model_cfg": OPEN_CLIP_ARCH}))
    reward = rewards.load("hpsv2", pretrained=str(tmp_path / "mine.pt"), arch=str(tmp_path / "arch.json"))
    expected = rewards.load("hpsv2", pretrained=str(folder)).score(IMAGES[:2], PROMPTS[:2])
    assert torch.equal(reward.score(IMAGES[:2], PROMPTS[:2]), expected)


def test_a_fine_tuned_one_is_read_from_open_clips_folder(folder, tmp_path):
    reward = rewards.load("hpsv2", pretrained=str(folder))
    reward.clip.save(tmp_path)
    expected = reward.score(IMAGES, PROMPTS)
    assert torch.equal(rewards.load("hpsv2", pretrained=str(tmp_path)).score(IMAGES, PROMPTS), expected)
    assert load_clip(tmp_path).preprocess == reward.clip.preprocess


def test_without_a_configuration_the_checkpoint_should_be_of_a_vit_h(monkeypatch, folder, tmp_path):
    shutil.copy(folder / "HPS_v2.1_compressed.pt", tmp_path)
    asked = []
    monkeypatch.setattr(open_clip, "get_model_config", lambda arch: asked.append(arch) or OPEN_CLIP_ARCH)
    rewards.load("hpsv2", pretrained=str(tmp_path))
    assert asked == ["ViT-H-14"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"version": "2.2"}, "no version '2.2'; give '2.1' or '2.0'"),
        ({"version": 2.1}, "no version 2.1; give '2.1' or '2.0', with the quotes"),
        ({"version": "2.0"}, "has no tensor|holds no HPS_v2_compressed.pt"),
        ({"arch": "ViT-B-32"}, "HPS_v2.1_compressed.pt .*ViT-B-32|HPS_v2.1_compressed.pt (is not a checkpoint|does not fit)"),
        ({"arch": "ViT-Z-1"}, "open_clip has no architecture 'ViT-Z-1'"),
        ({"pretrained": "/nowhere"}, "no checkpoint at /nowhere; give a file, a folder with HPS_v2.1_compressed.pt, or a hub id"),
    ],
)
def test_what_does_not_fit_is_one_sentence(tmp_path, folder, given, message):
    shutil.copy(folder / "HPS_v2.1_compressed.pt", tmp_path)
    with pytest.raises(UserError, match=message) as error:
        rewards.load("hpsv2", **({"pretrained": str(tmp_path)} | given))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("content", "message"), [(b"hello", "no checkpoint"), (None, "damaged")])
def test_a_file_of_something_else_and_a_part_of_one_are_sentences(tmp_path, content, message):
    given = fields(tmp_path)
    file = tmp_path / "HPS_v2.1_compressed.pt"
    file.write_bytes(content or file.read_bytes()[:100_000])
    with pytest.raises(UserError, match=f"{file} .*{message}") as error:
        rewards.load("hpsv2", **given)
    assert "\n" not in str(error.value)
