"""ImageReward against its published formula, written out over the tensors of the file.

MMALIGN_IMAGE_REWARD may name a folder with the published checkpoint: ``ImageReward.pt``, ``med_config.json``, BERT's tokenizer in
``bert-base-uncased`` and the four pictures ``1.webp`` to ``4.webp`` of the README's example. Its test is skipped without.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from mmalign import rewards
from mmalign.errors import UserError
from tests.rewards.tiny.image_reward import HEADS, PATCH, WORDS, fields, state_dict

MEAN, STD = 0.16717362830052426, 1.0333394966054072
PROMPTS = {
    "a large red circle , on the left": [2, 5, 6, 8, 12, 31, 16, 17, 19, 3],
    "Small BLUES [ENC] dog.": [2, 7, 9, 33, 36, 1, 32, 3],
    "": [2, 3],
    "red circle " * 40: [2, *[8, 12] * 16, 8, 3],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("image_reward")


@pytest.fixture(scope="module")
def reward(folder):
    return rewards.load("image_reward", **fields(folder))


def picture(width, height, mode="RGB"):
    generator = np.random.default_rng(width * height)
    few = generator.integers(0, 256, (height // 9 + 1, width // 9 + 1, len(mode)), dtype=np.uint8)
    return Image.fromarray(few.squeeze()).resize((width, height), Image.Resampling.BICUBIC)


PICTURES = {
    "square": picture(240, 240),
    "wide": picture(331, 120),
    "tall": picture(101, 263),
    "small": picture(31, 40),
    "gray": picture(230, 250, "L"),
    "pixel": Image.new("RGB", (1, 1), (200, 30, 90)),
}


def published_pixels(image):
    """(1, 3, 224, 224): the shorter side to 224 by bicubic, in 8 bits; the middle; CLIP's normalization."""
    width, height = image.size
    new = (224, 224 * height // width) if width <= height else (224 * width // height, 224)
    image = image.resize(new, Image.Resampling.BICUBIC)
    left, top = round((new[0] - 224) / 2), round((new[1] - 224) / 2)
    values = np.asarray(image.crop((left, top, left + 224, top + 224)).convert("RGB")).astype(np.float32) / 255
    values = (values - np.float32([0.48145466, 0.4578275, 0.40821073])) / np.float32([0.26862954, 0.26130258, 0.27577711])
    return torch.from_numpy(values).permute(2, 0, 1)[None]


def published_score(tensors, pixels, tokens):
    """The published model on one picture and one prompt, padded to 35 as published."""
    seen = vision(tensors, pixels)
    padded = torch.tensor([tokens + [0] * (35 - len(tokens))])
    hidden = text(tensors, padded, torch.arange(35) < len(tokens), seen)[:, 0]
    for place in (0, 2, 4, 6, 7):
        hidden = linear(tensors, f"mlp.layers.{place}", hidden)
    return ((hidden - MEAN) / STD).item()


def linear(tensors, name, x):
    return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]


def norm(tensors, name, x, eps):
    x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + eps).sqrt()
    return x * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]


def attend(query, key, value, heads, allowed=None):
    query, key, value = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    logits = query @ key.mT / query.shape[-1] ** 0.5
    if allowed is not None:
        logits = logits.masked_fill(~allowed, -torch.inf)
    return (logits.softmax(-1) @ value).transpose(1, 2).flatten(2)


def vision(tensors, pixels):
    own = {name.removeprefix("blip.visual_encoder."): value for name, value in tensors.items()}
    size = pixels.shape[-1] // PATCH
    cut = pixels.reshape(1, 3, size, PATCH, size, PATCH).permute(0, 2, 4, 1, 3, 5).reshape(1, size * size, -1)
    x = cut @ own["patch_embed.proj.weight"].flatten(1).T + own["patch_embed.proj.bias"]
    x = torch.cat([own["cls_token"], x], dim=1) + own["pos_embed"]
    for block in ("blocks.0.", "blocks.1."):
        query, key, value = linear(own, f"{block}attn.qkv", norm(own, f"{block}norm1", x, 1e-6)).chunk(3, dim=-1)
        x = x + linear(own, f"{block}attn.proj", attend(query, key, value, heads=2))
        x = x + linear(own, f"{block}mlp.fc2", F.gelu(linear(own, f"{block}mlp.fc1", norm(own, f"{block}norm2", x, 1e-6))))
    return norm(own, "norm", x, 1e-6)


def text(tensors, tokens, allowed, seen):
    own = {name.removeprefix("blip.text_encoder."): value for name, value in tensors.items()}
    x = own["embeddings.word_embeddings.weight"][tokens] + own["embeddings.position_embeddings.weight"][: tokens.shape[1]]
    x = norm(own, "embeddings.LayerNorm", x, 1e-12)
    for layer in ("encoder.layer.0.", "encoder.layer.1."):
        for kind, source, mask in (("attention", None, allowed), ("crossattention", seen, None)):
            at = f"{layer}{kind}."
            parts = [
                linear(own, f"{at}self.{part}", x if part == "query" or source is None else source) for part in ("query", "key", "value")
            ]
            x = norm(own, f"{at}output.LayerNorm", x + linear(own, f"{at}output.dense", attend(*parts, HEADS, mask)), 1e-12)
        inner = linear(own, f"{layer}output.dense", F.gelu(linear(own, f"{layer}intermediate.dense", x)))
        x = norm(own, f"{layer}output.LayerNorm", x + inner, 1e-12)
    return x


@pytest.mark.parametrize("name", PICTURES)
def test_scores_are_the_published_ones(reward, name):
    expected = [published_score(state_dict(), published_pixels(PICTURES[name]), tokens) for tokens in PROMPTS.values()]
    found = reward.score([PICTURES[name]] * len(PROMPTS), list(PROMPTS))
    assert len(set(expected)) == len(PROMPTS)
    torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=1e-5)


def test_transparency_is_laid_on_white_and_then_scored_as_published(reward):
    colors, mask = picture(200, 240), picture(240, 200, "L").resize((200, 240)).point(lambda value: 255 * (value > 127))
    laid = np.where(np.asarray(mask)[..., None] > 0, np.asarray(colors), 255).astype(np.uint8)
    colors.putalpha(mask)
    prompt, tokens = next(iter(PROMPTS.items()))
    expected = published_score(state_dict(), published_pixels(Image.fromarray(laid)), tokens)
    assert reward.score([colors], prompt).item() == pytest.approx(expected, abs=1e-5)


def test_prompts_are_cut_to_35_tokens_and_begin_with_cls(reward):
    tokens, mask = reward.tokenizer(list(PROMPTS))
    assert tokens.shape == mask.shape == (4, 35)
    assert [row[on.bool()].tolist() for row, on in zip(tokens, mask, strict=True)] == list(PROMPTS.values())
    assert (tokens[:, 0] == WORDS.index("[CLS]")).all()


def test_scores_of_gradients_are_near_those_of_files(reward):
    image = PICTURES["square"]
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255
    smooth = reward.score(pixels.requires_grad_(), "a red circle", differentiable=True)
    assert smooth.item() == pytest.approx(reward.score([image], "a red circle").item(), abs=0.02)
    smooth.sum().backward()
    step = 1e-2 * pixels.grad / pixels.grad.norm()
    risen = reward.score(pixels.detach() + step, "a red circle", differentiable=True) - smooth
    assert risen.item() == pytest.approx((pixels.grad * step).sum().item(), rel=0.1)


def test_another_picture_size_resizes_the_position_embeddings_as_blip_does(folder):
    bert = str(folder / "bert-base-uncased")
    reward = rewards.load("image_reward", pretrained=str(folder), tokenizer=bert, image_size=256, device="cpu")
    tensors = state_dict()
    positions = tensors["blip.visual_encoder.pos_embed"]
    grid = F.interpolate(positions[:, 1:].mT.unflatten(2, (14, 14)), (16, 16), mode="bicubic", align_corners=False)
    tensors["blip.visual_encoder.pos_embed"] = torch.cat([positions[:, :1], grid.flatten(2).mT], dim=1)
    image, (prompt, tokens) = picture(256, 256), next(iter(PROMPTS.items()))
    mean, std = torch.tensor([[0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]])[:, :, None, None]
    pixels = (torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255 - mean) / std
    assert reward.score([image], prompt).item() == pytest.approx(published_score(tensors, pixels, tokens), abs=1e-5)


def written(folder, change=None, config=None):
    """Fields of a tiny model with a change to its tensors or to its configuration."""
    made = fields(folder)
    tensors = state_dict()
    if change is not None:
        change(tensors)
        torch.save(tensors, folder / "ImageReward.pt")
    if config is not None:
        (folder / "med_config.json").write_text(json.dumps(config))
    return made


CHANGES = {
    "a missing tensor": (lambda t: t.pop("blip.visual_encoder.blocks.1.attn.qkv.bias"), r"has no tensor 'visual_encoder\.blocks\.1"),
    "a tensor of another model": (lambda t: t.update(head=torch.zeros(2)), "also has 'head'"),
    "another shape": (lambda t: t.update({"blip.visual_encoder.norm.weight": torch.zeros(3)}), r"norm\.weight' has shape \(3,\)"),
    "half a head": (lambda t: t.pop("mlp.layers.4.bias"), "head 'mlp.layers' does not lead from 24 numbers to one"),
    "a head without its first layer": (lambda t: [t.pop(f"mlp.layers.0.{half}") for half in ("weight", "bias")], "does not lead from 24"),
    "no head": (lambda t: [t.pop(name) for name in list(t) if "mlp.layers" in name], "head 'mlp.layers' does not"),
    "no pictures": (lambda t: [t.pop(name) for name in list(t) if "visual" in name], "no tensor 'blip.visual_encoder.patch_embed"),
}


@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES)
def test_a_file_that_the_score_cannot_depend_on_is_refused(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        rewards.load("image_reward", **written(tmp_path, change))


def test_parts_that_no_score_depends_on_may_be_left_out(reward, tmp_path):
    unused = ("position_ids", "vision_proj", "text_proj")
    made = written(tmp_path, lambda t: [t.pop(name) for name in list(t) if any(part in name for part in unused)])
    image = PICTURES["square"]
    assert torch.equal(rewards.load("image_reward", **made).score([image], "a"), reward.score([image], "a"))


def test_a_file_finds_its_configuration_beside_it(reward, folder):
    alone = rewards.load("image_reward", **{**_fields(folder), "pretrained": str(folder / "ImageReward.pt")})
    assert torch.equal(alone.score([PICTURES["tall"]], "a"), reward.score([PICTURES["tall"]], "a"))


def _fields(folder):
    return {"pretrained": str(folder), "tokenizer": str(folder / "bert-base-uncased"), "device": "cpu"}


def test_wrong_configurations_and_tokenizers_are_refused(tmp_path):
    made = written(tmp_path, config={"hidden_size": 24})
    with pytest.raises(UserError, match=r"med_config\.json is no configuration of BLIP's text encoder: it has no 'vocab_size'"):
        rewards.load("image_reward", **made)
    (tmp_path / "med_config.json").write_text("{")
    with pytest.raises(UserError, match="is no JSON object"):
        rewards.load("image_reward", **made)
    (tmp_path / "med_config.json").unlink()
    with pytest.raises(UserError, match=r"holds no med_config\.json"):
        rewards.load("image_reward", **made)


def test_a_tokenizer_with_other_words_than_the_checkpoint_is_refused(folder, tmp_path):
    with pytest.raises(UserError, match=r"has 7 words and the checkpoint 37"):
        rewards.load("image_reward", **{**_fields(folder), "tokenizer": str(tmp_path)})
    with pytest.raises(UserError, match="no BERT tokenizer at"):
        rewards.load("image_reward", **{**_fields(folder), "tokenizer": str(tmp_path / "absent")})


def test_a_picture_size_that_patches_do_not_tile_is_refused(folder):
    with pytest.raises(UserError, match="give a multiple of 16"):
        rewards.load("image_reward", **_fields(folder), image_size=230)


PUBLISHED = os.environ.get("MMALIGN_IMAGE_REWARD")


@pytest.mark.skipif(not PUBLISHED, reason="MMALIGN_IMAGE_REWARD names no folder with the published checkpoint and its four pictures")
def test_the_published_checkpoint_gives_the_numbers_of_its_readme():
    folder = Path(PUBLISHED)
    reward = rewards.load("image_reward", pretrained=str(folder), tokenizer=str(folder / "bert-base-uncased"), device="cpu")
    prompt = "a painting of an ocean with clouds and birds, day time, low depth field effect"
    found = reward.score([folder / f"{number}.webp" for number in range(1, 5)], prompt)
    # the README says that the digits depend on the machine a little
    torch.testing.assert_close(
        found, torch.tensor([0.5811622738838196, 0.2745276093482971, -1.4131819009780884, -2.029569625854492]), rtol=0, atol=5e-3
    )
