"""LAION's predictors against their published code, on a tiny backbone and heads in the published file formats."""

import open_clip
import pytest
import torch
from torch import nn

from mmalign import rewards
from mmalign.errors import UserError
from mmalign.rewards import aesthetic
from mmalign.scorers.preprocess import CLIP_MEAN, CLIP_STD
from tests.rewards.tiny.aesthetic import WIDTHS, fields, head
from tests.scorers.pictures import PICTURES, middle

IMAGES = list(PICTURES.values())
LINEAR, RELU = (0, 2, 4, 6, 7), (0, 3, 6, 9, 11)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    return fields(tmp_path_factory.mktemp("aesthetic"))


@torch.no_grad()
def features(given):
    """Normalized features of the pictures, by open_clip."""
    model = open_clip.create_model(f"local-dir:{given['backbone']}").eval()
    found = model.encode_image(torch.stack([middle(image, 32, CLIP_MEAN, CLIP_STD, floor=False) for image in IMAGES]))
    return found / found.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize("places", [LINEAR, RELU])
@torch.no_grad()
def test_the_second_version_is_five_layers(given, tmp_path, places):
    tensors, expected = head(places), features(given)
    for place in places:
        expected = expected @ tensors[f"layers.{place}.weight"].T + tensors[f"layers.{place}.bias"]
        if places == RELU and place != places[-1]:
            expected = expected.clamp(min=0)
    torch.save(tensors, tmp_path / "mine.pth")
    found = rewards.load("aesthetic", **(given | {"pretrained": str(tmp_path / "mine.pth")})).score(IMAGES)
    assert expected.std() > 0.02
    torch.testing.assert_close(found, expected[:, 0], rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_first_version_is_one_layer(given, tmp_path):
    layer = nn.Linear(WIDTHS[0], 1)
    torch.save(layer.state_dict(), tmp_path / "mine.pth")
    found = rewards.load("aesthetic", **(given | {"pretrained": str(tmp_path / "mine.pth")})).score(IMAGES)
    torch.testing.assert_close(found, layer(features(given))[:, 0], rtol=0, atol=1e-5)


def test_prompts_are_not_even_read(given, monkeypatch):
    reward = rewards.load("aesthetic", **given)
    expected = reward.score(IMAGES)
    monkeypatch.setattr(reward.clip, "tokenize", None)
    assert torch.equal(reward.score(IMAGES, "whatever"), expected)


def test_in_bfloat16_the_head_stays_exact(given):
    exact, coarse = (rewards.load("aesthetic", dtype=dtype, **given) for dtype in ("float32", "bfloat16"))
    assert {parameter.dtype for parameter in coarse.head.parameters()} == {torch.float32}
    assert coarse.score(IMAGES).dtype == torch.float32
    torch.testing.assert_close(coarse.score(IMAGES), exact.score(IMAGES), rtol=0, atol=0.1)


@pytest.mark.parametrize(
    ("name", "backbone"),
    [
        ("sac+logos+ava1-l14-linearMSE", "ViT-L-14:openai"),
        ("/some/where/sa_0_4_vit_b_32_linear.pth", "ViT-B-32:openai"),
        ("sa_0_4_vit_b_16_linear", "ViT-B-16:openai"),
        ("/my/head.pth", "ViT-L-14:openai"),
    ],
)
def test_the_backbone_is_the_one_that_the_head_was_trained_on(monkeypatch, given, name, backbone):
    asked = []
    monkeypatch.setattr(aesthetic, "load_head", lambda place: nn.Sequential(nn.Linear(WIDTHS[0], 1)))
    load = aesthetic.load_clip
    monkeypatch.setattr(aesthetic, "load_clip", lambda place, **_: asked.append(place) or load(given["backbone"]))
    rewards.load("aesthetic", pretrained=name)
    assert asked == [backbone]


def test_a_head_of_another_backbone_is_refused(given, tmp_path):
    torch.save(nn.Linear(768, 1).state_dict(), tmp_path / "mine.pth")
    with pytest.raises(UserError, match=r"mine.pth reads 768 numbers but the backbone gives 24"):
        rewards.load("aesthetic", pretrained=str(tmp_path / "mine.pth"), backbone=given["backbone"])
