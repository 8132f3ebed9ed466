"""MPS against its published formula: transformers' towers, and the cross model written out over the tensors of the file."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import CLIPModel

from mmalign import rewards
from mmalign.errors import UserError
from tests.rewards.tiny.mps import HEAD_WIDTH, HEADS, INNER, LENGTH, SIDE, VOCABULARY, WIDTH, config, fields, state_dict

START, END = len(VOCABULARY) - 2, len(VOCABULARY) - 1
PROMPTS = {
    "red cat": ["red</w>", "c", "a", "t</w>"],
    "The cir, a.": ["the</w>", "ci", "r</w>", ",</w>", "a</w>", ".</w>"],
    "": [],
    "ab " * 40: ["a", "b</w>"] * 13,
}
CONDITION = ["l", "i", "g", "h", "t</w>", ",</w>", "c", "o", "l", "o", "r</w>"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mps")


@pytest.fixture(scope="module")
def made(folder):
    return fields(folder)


@pytest.fixture(scope="module")
def reward(made):
    return rewards.load("mps", **made)


@pytest.fixture(scope="module")
def clip():
    model = CLIPModel(config()).eval().requires_grad_(False)
    model.load_state_dict({name.removeprefix("model."): value for name, value in state_dict().items() if name.startswith("model.")})
    return model


def picture(width, height, mode="RGB"):
    generator = np.random.default_rng(width * height)
    few = generator.integers(0, 256, (height // 9 + 1, width // 9 + 1, len(mode)), dtype=np.uint8)
    return Image.fromarray(few.squeeze()).resize((width, height), Image.Resampling.BICUBIC)


PICTURES = {
    "square": picture(64, 64),
    "wide": picture(131, 50),
    "tall": picture(41, 93),
    "small": picture(20, 15),
    "gray": picture(60, 71, "L"),
    "pixel": Image.new("RGB", (1, 1), (200, 30, 90)),
}


def pixels_of(image):
    """(1, 3, 32, 32) as transformers prepares pictures for CLIP."""
    width, height = image.size
    new = (SIDE, SIDE * height // width) if width <= height else (SIDE * width // height, SIDE)
    left, top = (new[0] - SIDE) // 2, (new[1] - SIDE) // 2
    image = image.convert("RGB").resize(new, Image.Resampling.BICUBIC).crop((left, top, left + SIDE, top + SIDE))
    values = np.asarray(image).astype(np.float32) / 255
    values = (values - np.float32([0.48145466, 0.4578275, 0.40821073])) / np.float32([0.26862954, 0.26130258, 0.27577711])
    return torch.from_numpy(values).permute(2, 0, 1)[None]


def ids(words):
    """(1, 28): the start, the words, the end, and ends to the full length."""
    return torch.tensor([[START, *(VOCABULARY.index(word) for word in words), *[END] * (LENGTH - 1 - len(words))]])


def text_features(clip, words):
    return clip.text_model(input_ids=ids(words)).last_hidden_state @ clip.text_projection.weight.T


def shares(clip, words):
    """(1, 28): each token's best product with the condition, as a share of the highest."""
    best = torch.einsum("bid,bjd->bij", text_features(clip, words), text_features(clip, CONDITION)).amax(-1)
    return best / best.max()


def published_cosine(clip, image, words, threshold):
    """The published score of one picture over exp(logit_scale)."""
    tensors, features = state_dict(), text_features(clip, words)
    mask = torch.where(shares(clip, words) > threshold, 0.0, -torch.inf)
    tokens = clip.vision_model(pixel_values=pixels_of(image)).last_hidden_state @ clip.visual_projection.weight.T
    for layer in (0, 1):
        tokens = tokens + reading(tensors, f"cross_model.layers.{layer}.0.fn.", tokens, features, mask)
        tokens = tokens + mixing(tensors, f"cross_model.layers.{layer}.1.fn.", tokens)
    seen, whole = tokens[0, 0], features[0, 1 + len(words)]
    return (seen @ whole / (seen.norm() * whole.norm())).item()


def norm(tensors, name, x):
    x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
    return x * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]


def gated(x):
    return x[..., :INNER] * F.silu(x[..., INNER:])


def attention(query, key, value, mask):
    """One head's keys and values, many heads' queries: (B, N, H * W) of (B, N, H * W), (B, M, W), (B, M, W)."""
    weights = (torch.einsum("bnhw,bmw->bhnm", query, key) / HEAD_WIDTH**0.5 + mask).softmax(-1)
    return torch.einsum("bhnm,bmw->bnhw", weights, value).flatten(2)


def reading(tensors, name, tokens, features, mask):
    x = norm(tensors, f"{name}norm", tokens)
    both = features @ tensors[f"{name}to_kv.weight"].T
    query = (x @ tensors[f"{name}to_q.weight"].T).unflatten(-1, (HEADS, HEAD_WIDTH))
    read = attention(query, both[..., :HEAD_WIDTH], both[..., HEAD_WIDTH:], mask[:, None, None])
    return read @ tensors[f"{name}to_out.weight"].T + gated(x @ tensors[f"{name}ff.0.weight"].T) @ tensors[f"{name}ff.2.weight"].T


def mixing(tensors, name, tokens):
    x = norm(tensors, f"{name}norm", tokens) @ tensors[f"{name}fused_attn_ff_proj.weight"].T
    query, key, value, inner = x.split([HEADS * HEAD_WIDTH, HEAD_WIDTH, HEAD_WIDTH, 2 * INNER], dim=-1)
    query = rotated(query.unflatten(-1, (HEADS, HEAD_WIDTH)), tokens.shape[1], dim=1)
    mixed = attention(query, rotated(key, tokens.shape[1], dim=1), value, torch.zeros(()))
    return mixed @ tensors[f"{name}attn_out.weight"].T + gated(inner) @ tensors[f"{name}ff_out.1.weight"].T


def rotated(x, length, dim):
    """Turns number pairs (i, i + W/2) of the token at place p by p * 10000^(-2i/W), as complex numbers."""
    speeds = 10000.0 ** (-2 * torch.arange(HEAD_WIDTH // 2) / HEAD_WIDTH)
    turns = torch.polar(torch.ones(length, HEAD_WIDTH // 2), torch.arange(length)[:, None] * speeds)
    turns = turns if x.ndim == dim + 2 else turns[:, None]
    first, second = x.chunk(2, dim=-1)
    turned = torch.complex(first, second) * turns
    return torch.cat([turned.real, turned.imag], dim=-1)


@pytest.mark.parametrize("threshold", [0.3, 0.97])
@pytest.mark.parametrize("name", PICTURES)
def test_scores_are_the_published_ones(clip, made, name, threshold):
    found = rewards.load("mps", **made, threshold=threshold).score([PICTURES[name]] * len(PROMPTS), list(PROMPTS))
    expected = [published_cosine(clip, PICTURES[name], words, threshold) for words in PROMPTS.values()]
    torch.testing.assert_close(found / 100, torch.tensor(expected), rtol=0, atol=1e-5)


def test_the_threshold_says_which_words_are_read(clip, made):
    for threshold in (0.3, 0.97):
        read = rewards.load("mps", **made, threshold=threshold).read(list(PROMPTS))
        assert [prompt.relevant.tolist() for prompt in read] == [
            (shares(clip, words) > threshold)[0].tolist() for words in PROMPTS.values()
        ]
    assert any(0 < prompt.relevant.sum() < LENGTH / 2 for prompt in read)


def test_transparency_is_laid_on_white_and_then_scored_as_published(clip, reward):
    colors, mask = picture(50, 60), picture(60, 50, "L").resize((50, 60)).point(lambda value: 255 * (value > 127))
    laid = np.where(np.asarray(mask)[..., None] > 0, np.asarray(colors), 255).astype(np.uint8)
    colors.putalpha(mask)
    expected = published_cosine(clip, Image.fromarray(laid), PROMPTS["red cat"], 0.3)
    assert reward.score([colors], "red cat").item() / 100 == pytest.approx(expected, abs=1e-5)


def test_words_are_chosen_by_their_own_prompt_and_not_by_the_batch(clip, made):
    best = {
        prompt: torch.einsum("bid,bjd->bij", text_features(clip, words), text_features(clip, CONDITION)).max()
        for prompt, words in PROMPTS.items()
    }
    threshold = (min(best.values()) / max(best.values())).item() ** 0.5
    # by the published rule, over the batch, one prompt would have no word at all
    assert min(best.values()) / max(best.values()) < threshold < 1
    reward = rewards.load("mps", **made, threshold=threshold)
    together = reward.score([PICTURES["square"]] * len(PROMPTS), list(PROMPTS))
    alone = torch.cat([reward.score([PICTURES["square"]], prompt) for prompt in PROMPTS])
    assert together.isfinite().all()
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-4)


def test_distinct_prompts_are_read_once(reward, monkeypatch):
    seen = []
    original = type(reward).read
    monkeypatch.setattr(type(reward), "read", lambda self, texts: [seen.extend(texts), original(self, texts)][1])
    prompts = ["red", "cat", "red", "red", "the", "cat", "red"]
    reward.score([PICTURES["square"]] * 7, prompts, batch_size=2)
    assert seen == ["red", "cat", "the"]


def test_the_authors_state_dict_is_read_too(reward, made, tmp_path):
    tensors = state_dict() | {"model.text_model.embeddings.position_ids": torch.arange(LENGTH)[None]}
    torch.save({name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}, tmp_path / "mps.pt")
    own = rewards.load("mps", **{**made, "pretrained": str(tmp_path / "mps.pt")})
    torch.testing.assert_close(own.score([PICTURES["wide"]], "cat"), reward.score([PICTURES["wide"]], "cat"), rtol=0, atol=0.5)


def test_the_pickled_module_is_refused(made, tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "MPS_overall_checkpoint.pth")
    with pytest.raises(UserError, match="a pickle of Python objects, which could run code and is refused"):
        rewards.load("mps", **{**made, "pretrained": str(tmp_path / "MPS_overall_checkpoint.pth")})


CHANGES = {
    "a missing tensor of a tower": (lambda t: t.pop("model.visual_projection.weight"), r"has no tensor 'model\.visual_projection"),
    "a missing tensor of the cross model": (lambda t: t.pop("cross_model.layers.1.1.fn.norm.bias"), r"layers\.1\.1\.norm\.bias"),
    "no cross model": (lambda t: [t.pop(name) for name in list(t) if "cross" in name], r"has no tensor 'cross_model\.layers\.0\.0\.to_q"),
    "another width": (lambda t: t.update({"model.text_projection.weight": torch.zeros(WIDTH, 8)}), r"has shape \(24, 8\), not \(24, 32\)"),
    "more than that": (lambda t: t.update(extra=torch.zeros(1)), "also has 'extra'"),
}


@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES)
def test_a_file_of_another_model_is_refused(made, tmp_path, change, message):
    tensors = state_dict()
    change(tensors)
    torch.save(tensors, tmp_path / "mps.pt")
    with pytest.raises(UserError, match=message):
        rewards.load("mps", **{**made, "pretrained": str(tmp_path / "mps.pt")})


def test_a_missing_clip_and_a_threshold_that_hides_all_words_are_refused(made, tmp_path):
    with pytest.raises(UserError, match="there is no configuration and tokenizer of a CLIP at"):
        rewards.load("mps", **{**made, "clip": str(tmp_path)})
    with pytest.raises(UserError, match="give less than 1"):
        rewards.load("mps", **made, threshold=1.0)
