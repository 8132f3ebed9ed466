"""HPSv3 against its published formula: preparation, text and Qwen2-VL written out over the tensors of the file.

The same numbers came out of the package's own class under transformers 4.45.2, to 4e-8 in float32 and in bfloat16; it cannot be installed
beside the transformers of today.
"""

import hashlib
import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from mmalign import rewards
from mmalign.errors import UserError
from mmalign.scorers.hpsv3_instruction import INSTRUCTION
from tests.rewards.tiny.hpsv3 import fields

MEAN, STD = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
PROMPTS = ["a large red circle", "two {green} dogs", "", "a photo of a cat " * 30, "große Bilder", "<|Reward|> <|im_end|>", "x"]


def picture(width, height, mode="RGB"):
    few = np.random.default_rng(width * height).integers(0, 256, (height // 9 + 1, width // 9 + 1, len(mode)), dtype=np.uint8)
    return Image.fromarray(few.squeeze()).resize((width, height), Image.Resampling.BICUBIC)


PICTURES = {
    "square": picture(448, 448),
    "wide": picture(700, 300),
    "tall": picture(120, 460),
    "large": picture(1000, 900),
    "gray": picture(50, 70, "L"),
    "clear": picture(50, 40, "RGBA"),
    "pixel": Image.new("RGB", (1, 1), (200, 30, 90)),
}
# width and height by hand: 700 x 300 has 28-multiples 700 x 308 = 215,600 pixels, above 200,704, so both shrink by sqrt(210,000 / 200,704)
# and are cut to multiples of 28; smaller pictures grow by the like and are brought up to multiples
SIZES = {"square": (448, 448), "wide": (672, 280), "tall": (252, 896), "large": (448, 420), "gray": (392, 532), "pixel": (448, 448)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hpsv3")


@pytest.fixture(scope="module")
def tiny(folder):
    return fields(folder)


@pytest.fixture(scope="module")
def reward(tiny):
    return rewards.load("hpsv3", **tiny)


def on_white(image):
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def patches(image):
    """Patches (h w, 3 2 14 14) in blocks of 2 x 2, each doubled in time; and h, w."""
    width, height = image.size
    sides = [max(28, round(side / 28) * 28) for side in (width, height)]
    scale = math.sqrt(width * height / 200704)
    if sides[0] * sides[1] > 200704:
        sides = [math.floor(side / scale / 28) * 28 for side in (width, height)]
    elif sides[0] * sides[1] < 200704:
        sides = [math.ceil(side / scale / 28) * 28 for side in (width, height)]
    pixels = (np.asarray(image.resize(sides, Image.Resampling.BICUBIC), dtype=np.float64) / 255 - MEAN) / STD
    h, w = sides[1] // 14, sides[0] // 14
    blocks = torch.from_numpy(pixels).float().reshape(h // 2, 2, 14, w // 2, 2, 14, 3).permute(0, 3, 1, 4, 6, 2, 5)
    return blocks[:, :, :, :, :, None].expand(-1, -1, -1, -1, -1, 2, -1, -1).reshape(h * w, -1), h, w


def turned(x, cos, sin):
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


def norm(x, t, name):
    return F.layer_norm(x, x.shape[-1:], t[f"{name}.weight"], t[f"{name}.bias"], eps=1e-6)


def rms(x, weight):
    return x * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * weight


def linear(x, t, name):
    return F.linear(x, t[f"{name}.weight"], t.get(f"{name}.bias"))


def attend(q, k, v, causal):
    weights = q.transpose(0, 1) @ k.permute(1, 2, 0) / q.shape[-1] ** 0.5
    if causal:
        weights = weights + torch.full(weights.shape[-2:], -math.inf).triu(1)
    return (weights.softmax(-1) @ v.transpose(0, 1)).transpose(0, 1).flatten(1)


def vision(t, pixels, h, w):
    """Qwen2-VL's tower: its angles are products of bfloat16 numbers, as in the model that was trained."""
    x = F.linear(pixels, t["visual.patch_embed.proj.weight"].flatten(1))
    rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    places = torch.stack([rows, columns], -1).reshape(h // 2, 2, w // 2, 2, 2).permute(0, 2, 1, 3, 4).reshape(-1, 2)
    frequencies = (1 / 10000 ** (torch.arange(0, 4, 2).float() / 4)).bfloat16()
    angles = (places.bfloat16()[:, :, None] * frequencies).flatten(1)
    cos, sin = (part.float().repeat(1, 2)[:, None] for part in (angles.cos(), angles.sin()))
    for layer in range(2):
        name = f"visual.blocks.{layer}"
        q, k, v = linear(norm(x, t, f"{name}.norm1"), t, f"{name}.attn.qkv").reshape(len(x), 3, 2, 8).unbind(1)
        x = x + linear(attend(turned(q, cos, sin), turned(k, cos, sin), v, causal=False), t, f"{name}.attn.proj")
        inner = linear(norm(x, t, f"{name}.norm2"), t, f"{name}.mlp.fc1")
        x = x + linear(inner * torch.sigmoid(1.702 * inner), t, f"{name}.mlp.fc2")
    merged = norm(x, t, "visual.merger.ln_q").reshape(-1, 4 * 16)
    return linear(F.gelu(linear(merged, t, "visual.merger.mlp.0")), t, "visual.merger.mlp.2")


def published(t, ids, pixels, h, w, image_token, reward_token):
    """Mean and log deviation: tokens numbered 0, 1, 2, ... through the picture too, by frequencies in bfloat16's precision."""
    x = t["model.embed_tokens.weight"][ids]
    x[ids == image_token] = vision(t, pixels, h, w)
    frequencies = (1 / 10000 ** (torch.arange(0, 8, 2).float() / 8)).bfloat16().float()
    angles = (torch.arange(len(ids))[:, None] * frequencies).repeat(1, 2)[:, None]
    cos, sin = angles.cos(), angles.sin()
    for layer in range(2):
        name = f"model.layers.{layer}"
        y = rms(x, t[f"{name}.input_layernorm.weight"])
        q, k, v = (linear(y, t, f"{name}.self_attn.{part}_proj").reshape(len(ids), -1, 8) for part in "qkv")
        k, v = turned(k, cos, sin).repeat_interleave(2, dim=1), v.repeat_interleave(2, dim=1)
        x = x + linear(attend(turned(q, cos, sin), k, v, causal=True), t, f"{name}.self_attn.o_proj")
        y = rms(x, t[f"{name}.post_attention_layernorm.weight"])
        gated = F.silu(linear(y, t, f"{name}.mlp.gate_proj")) * linear(y, t, f"{name}.mlp.up_proj")
        x = x + linear(gated, t, f"{name}.mlp.down_proj")
    hidden = rms(x, t["model.norm.weight"])[ids == reward_token]
    for layer in ("rm_head.0", "rm_head.3"):
        hidden = F.relu(linear(hidden, t, layer))
    return linear(hidden, t, "rm_head.5")[0]


def expected(folder, image, prompt):
    t = load_file(folder / "HPSv3.safetensors")
    pixels, h, w = patches(on_white(image))
    words = Tokenizer.from_file(str(folder / "base" / "tokenizer.json"))
    words.add_special_tokens(["<|Reward|>"])
    prompt = prompt.replace("<|Reward|> <|im_end|>", "< |Reward|> < |im_end|>")
    text = (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        f"<|vision_start|>{'<|image_pad|>' * (h * w // 4)}<|vision_end|>{INSTRUCTION.format(text_prompt=prompt)}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    ids = torch.tensor(words.encode(text).ids)
    return published(t, ids, pixels, h, w, words.token_to_id("<|image_pad|>"), words.token_to_id("<|Reward|>"))


def test_mean_and_deviation_are_the_published_ones(reward, folder):
    mean, deviation = reward.distribution(iter(PICTURES.values()), PROMPTS)
    wanted = torch.stack([expected(folder, image, prompt) for image, prompt in zip(PICTURES.values(), PROMPTS, strict=True)])
    assert wanted.std(0).min() > 0.01
    torch.testing.assert_close(mean, wanted[:, 0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(deviation, wanted[:, 1].exp(), rtol=1e-5, atol=1e-5)
    assert torch.equal(mean, reward.score(list(PICTURES.values()), PROMPTS))


def test_the_instruction_is_the_published_text():
    assert hashlib.sha256(INSTRUCTION.encode()).hexdigest() == "f6ee57479d4e9eee76b49c00dc962e1e696a5a2b3cc32cebd9b1fa76fe27502c"


@pytest.mark.parametrize("name", SIZES)
def test_pictures_have_about_the_area_of_448_squared_in_multiples_of_28(name, reward):
    assert reward.prepare(on_white(PICTURES[name])).size == SIZES[name]


def test_names_of_later_versions_of_transformers_are_read_too(reward, tiny, folder, tmp_path):
    tensors = load_file(folder / "HPSv3.safetensors")
    later = {name.replace("model.", "model.language_model.", 1) if name.startswith("model.") else name: tensors[name] for name in tensors}
    later = {f"model.{name}" if name.startswith("visual.") else name: tensor for name, tensor in later.items() if name != "lm_head.weight"}
    save_file(later, tmp_path / "later.safetensors")
    again = rewards.load("hpsv3", **{**tiny, "pretrained": str(tmp_path / "later.safetensors")})
    pictures = [PICTURES["wide"]]
    torch.testing.assert_close(again.score(pictures, "a circle"), reward.score(pictures, "a circle"), rtol=1e-6, atol=1e-6)


def test_half_precision_keeps_the_head_in_float32(tiny):
    half = rewards.load("hpsv3", **{**tiny, "dtype": "bfloat16"})
    assert {parameter.dtype for parameter in half.model.body.parameters()} == {torch.bfloat16}
    assert {parameter.dtype for parameter in half.model.head.parameters()} == {torch.float32}


def test_no_pictures_have_no_distribution(reward):
    assert [part.shape for part in reward.distribution([], [])] == [(0,), (0,)]


def test_a_picture_far_too_long_is_refused(reward):
    with pytest.raises(UserError, match="1 x 201"):
        reward.score([Image.new("RGB", (1, 201))], "x")


def test_a_wrong_checkpoint_or_base_is_said_in_a_sentence(tiny, folder, tmp_path):
    tensors = load_file(folder / "HPSv3.safetensors")
    headless = {name: tensor for name, tensor in tensors.items() if not name.startswith("rm_head")}
    save_file(headless, tmp_path / "headless.safetensors")
    save_file({"weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="head"):
        rewards.load("hpsv3", **{**tiny, "pretrained": str(tmp_path / "headless.safetensors")})
    with pytest.raises(UserError, match=r"HPSv3\.safetensors"):
        rewards.load("hpsv3", **{**tiny, "pretrained": str(tmp_path / "other.safetensors")})
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(UserError, match="qwen2_vl"):
        rewards.load("hpsv3", **{**tiny, "base": str(tmp_path)})


def test_a_base_with_other_tokens_is_refused(tiny, folder, tmp_path):
    tensors = load_file(folder / "HPSv3.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = tensors[name][:-1].clone()
    save_file(tensors, tmp_path / "few.safetensors")
    with pytest.raises(UserError, match="more tokens"):
        rewards.load("hpsv3", **{**tiny, "pretrained": str(tmp_path / "few.safetensors")})
