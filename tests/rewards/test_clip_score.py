"""CLIPScore against its published formulas, with models of both libraries."""

import open_clip
import pytest
import torch
from transformers import AutoTokenizer, CLIPModel, SiglipModel

from mmalign import rewards
from mmalign.errors import UserError
from mmalign.scorers.preprocess import CLIP_MEAN, CLIP_STD
from tests.scorers import clips
from tests.scorers.pictures import PICTURES, flat, middle

IMAGES = list(PICTURES.values())
PROMPTS = [["a red circle", "a photo of a cat", "two green dogs " * 20][i % 3] for i in range(len(IMAGES))]
PREFIX = "A photo depicts "


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("clip_score")
    for make in (clips.open_clip, clips.clip, clips.siglip, clips.siglip2):
        make(root / make.__name__)
    return root


@torch.no_grad()
def cosines(folder, prompts):
    model, tokenize = open_clip.create_model(f"local-dir:{folder}").eval(), open_clip.get_tokenizer(f"local-dir:{folder}")
    pixels = torch.stack([middle(image, 32, CLIP_MEAN, CLIP_STD, floor=False) for image in IMAGES])
    return (model.encode_image(pixels, normalize=True) * model.encode_text(tokenize(prompts), normalize=True)).sum(-1)


@pytest.mark.parametrize(("form", "range", "unit"), [("cosine", (-1, 1), "cosine"), ("clipscore", (0, 2.5), "2.5 times the cosine")])
def test_either_form_knows_its_own_range_and_unit(folders, form, range, unit):
    reward = rewards.load("clip_score", pretrained=str(folders / "open_clip"), form=form)
    assert reward.range == range
    assert reward.unit.startswith(unit)


def test_the_cosine_is_open_clips(folders):
    found = rewards.load("clip_score", pretrained=str(folders / "open_clip")).score(IMAGES, PROMPTS)
    expected = cosines(folders / "open_clip", PROMPTS)
    assert expected.std() > 0.05
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("prefix", "written"), [(None, PREFIX), ("", ""), ("An oil painting of ", "An oil painting of ")])
def test_clipscore_is_two_and_a_half_times_the_cosine_of_prefixed_prompts_and_not_below_zero(folders, prefix, written):
    found = rewards.load("clip_score", pretrained=str(folders / "open_clip"), form="clipscore", prefix=prefix).score(IMAGES, PROMPTS)
    expected = 2.5 * cosines(folders / "open_clip", [written + prompt for prompt in PROMPTS])
    assert (expected < 0).any()
    assert (expected > 0).any()
    torch.testing.assert_close(found, expected.clamp(min=0), rtol=0, atol=1e-5)


@torch.no_grad()
def test_transformers_clip_gives_its_own_logits_without_the_temperature(folders):
    folder = folders / "clip"
    model, tokenizer = CLIPModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(PROMPTS, padding=True, truncation=True, max_length=16, return_tensors="pt")
    pixels = torch.stack([middle(image, 32, CLIP_MEAN, CLIP_STD, floor=True) for image in IMAGES])
    expected = model(**tokens, pixel_values=pixels).logits_per_image.diag() / 100
    found = rewards.load("clip_score", pretrained=str(folder)).score(IMAGES, PROMPTS)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_siglip_squashes_pictures_and_its_bias_plays_no_part(folders):
    from PIL import Image

    folder = folders / "siglip"
    model, tokenizer = SiglipModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(PROMPTS, padding="max_length", truncation=True, max_length=16, return_tensors="pt").input_ids
    squashed = [Image.fromarray(flat(image)).resize((32, 32), Image.Resampling.BICUBIC) for image in IMAGES]
    pixels = torch.stack([torch.from_numpy(flat(image) / 127.5 - 1).float().permute(2, 0, 1) for image in squashed])
    expected = (model(input_ids=tokens, pixel_values=pixels).logits_per_image.diag() - model.logit_bias) / 100
    found = rewards.load("clip_score", pretrained=str(folder)).score(IMAGES, PROMPTS)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_siglip_2_scores_pictures_of_several_aspects_together_as_alone(folders):
    reward = rewards.load("clip_score", pretrained=str(folders / "siglip2"))
    alone = torch.cat([reward.score([image], [prompt]) for image, prompt in zip(IMAGES, PROMPTS, strict=True)])
    torch.testing.assert_close(reward.score(IMAGES, PROMPTS), alone, rtol=0, atol=1e-5)


def test_a_long_list_of_prompts_is_read_in_parts(folders):
    reward = rewards.load("clip_score", pretrained=str(folders / "clip"))
    prompts = [f"a red circle {'a' * (i % 7)} {i}" for i in range(300)]
    few = torch.cat([reward.text_embeddings(prompts[:1]), reward.text_embeddings(prompts[-1:])])
    torch.testing.assert_close(reward.text_embeddings(prompts)[[0, -1]], few, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"form": "cos"}, "no form 'cos'; give cosine or clipscore"),
        ({"dtype": "bf16"}, "dtype is 'bf16'; did you mean 'bfloat16'"),
        ({"pretrained": "/nowhere"}, "no CLIP-type model at /nowhere"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_what_cannot_be_is_a_sentence(folders, given, message):
    with pytest.raises(UserError, match=message):
        rewards.load("clip_score", **({"pretrained": str(folders / "clip")} | given))
