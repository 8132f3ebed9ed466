import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torchvision.transforms import v2
from transformers import AutoTokenizer, BertConfig, CLIPModel, CLIPTextModel, Siglip2Model, SiglipModel
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

from mmalign.errors import UserError
from mmalign.scorers.load_clip import load_clip
from mmalign.scorers.preprocess import CLIP_MEAN, CLIP_STD, Preprocess
from mmalign.scorers.transformers_clip import _pooled, load_transformers
from tests.scorers import clips

TEXTS = ["a red circle", "a photo of a cat", "two green dogs " * 20, ""]
MAKERS = {"clip": (clips.clip, CLIPModel), "siglip": (clips.siglip, SiglipModel)}


@pytest.fixture(scope="module", params=MAKERS)
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    MAKERS[request.param][0](folder)
    return folder


@torch.no_grad()
def test_embeddings_are_those_of_transformers(folder):
    clip, theirs = load_transformers(folder).eval(), MAKERS[load_transformers(folder).model.config.model_type][1].from_pretrained(folder)
    tokens = AutoTokenizer.from_pretrained(folder)(
        TEXTS, padding="max_length", max_length=16, truncation=True, return_tensors="pt"
    ).input_ids
    pixels = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(clip.tokenize(TEXTS), tokens)
    outputs = theirs(input_ids=tokens, pixel_values=pixels)  # normalized
    torch.testing.assert_close(torch.nn.functional.normalize(clip.embed_text(tokens), dim=-1), outputs.text_embeds)
    torch.testing.assert_close(torch.nn.functional.normalize(clip.embed_image(pixels), dim=-1), outputs.image_embeds)
    assert clip.logit_scale.item() == pytest.approx(100, rel=1e-5)


@torch.no_grad()
def test_padding_to_the_full_length_changes_no_embedding_of_clip(tmp_path):
    clips.clip(tmp_path)
    clip = load_clip(tmp_path).eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        alone = tokenizer(text, truncation=True, max_length=16, return_tensors="pt").input_ids
        torch.testing.assert_close(clip.embed_text(clip.tokenize([text])), clip.embed_text(alone), rtol=1e-5, atol=1e-5)


def test_texts_are_cut_with_their_end_kept(folder):
    tokens = load_clip(folder).tokenize(TEXTS)
    start, end = 0, 1
    assert tokens.shape == (4, 16)
    assert tokens[2, [0, -1]].tolist() == [start, end]
    assert (tokens[2, 1:-1] > 1).all()
    assert tokens[3].tolist() == [start] + [end] * 15


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 64), (90, 31), (20, 70), (1, 1)])
def test_siglip_2_sees_pictures_of_any_aspect_as_published(tmp_path, size):
    clips.siglip2(tmp_path)
    clip, theirs = load_clip(tmp_path).eval(), Siglip2Model.from_pretrained(tmp_path)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    inputs = Siglip2ImageProcessorPil.from_pretrained(tmp_path)(image, return_tensors="pt")  # padded to 20 patches, with a mask
    expected = theirs.get_image_features(**inputs).pooler_output
    torch.testing.assert_close(clip.embed_image(clip.preprocess(image)[None]), expected, rtol=1e-4, atol=1e-5)


def test_a_saved_model_is_read_back(folder, tmp_path):
    clip = load_clip(folder)
    clip.save(tmp_path / "saved")
    again = load_clip(tmp_path / "saved")
    assert again.preprocess == clip.preprocess
    assert torch.equal(again.tokenize(TEXTS), clip.tokenize(TEXTS))
    assert all(torch.equal(tensor, again.model.state_dict()[name]) for name, tensor in clip.model.state_dict().items())


OLD = {"feature_extractor_type": "CLIPFeatureExtractor", "size": 36, "crop_size": 32, "do_center_crop": True, "resample": 3}
RECIPES = {
    "CLIP": (clips.CLIP_RECIPE, Preprocess(size=32, resize=32, odd="floor")),
    "CLIP of old": (OLD | clips.CLIP_NUMBERS, Preprocess(size=32, resize=36, odd="floor")),
    "SigLIP": (
        clips.SIGLIP_RECIPE | {"resample": 2},
        Preprocess(32, "squash", (0.5,) * 3, (0.5,) * 3, interpolation=v2.InterpolationMode.BILINEAR, odd="floor"),
    ),
}


@pytest.mark.parametrize(("recipe", "expected"), RECIPES.values(), ids=RECIPES)
def test_the_recipe_for_pictures_is_the_folders_own(tmp_path, recipe, expected):
    clips.clip(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(recipe))
    assert load_clip(tmp_path).preprocess == expected
    assert (expected.mean, expected.std) in ((CLIP_MEAN, CLIP_STD), ((0.5,) * 3, (0.5,) * 3))


@pytest.mark.parametrize(
    "recipe",
    [
        clips.CLIP_RECIPE | {"do_center_crop": False},
        clips.CLIP_RECIPE | {"crop_size": {"height": 32, "width": 40}},
        clips.CLIP_RECIPE | {"crop_size": {"height": 48, "width": 48}},
        clips.SIGLIP_RECIPE | {"size": {"height": 32, "width": 40}},
    ],
)
def test_a_recipe_that_makes_no_squares_is_refused(tmp_path, recipe):
    clips.clip(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(recipe))
    with pytest.raises(UserError, match="does not make squares"):
        load_clip(tmp_path)


def test_a_model_may_have_its_processor_elsewhere(tmp_path):
    clips.clip(tmp_path / "weights")
    for path in (tmp_path / "weights").iterdir():
        if path.name not in ("config.json", "model.safetensors"):
            path.unlink()
    with pytest.raises(UserError, match=r"cannot read the (tokenizer|image processor) of .*weights"):
        load_clip(tmp_path / "weights")
    clips.processor(tmp_path / "processor", clips.CLIP_RECIPE)
    assert load_clip(tmp_path / "weights", processor=tmp_path / "processor").preprocess.size == 32


def test_earlier_transformers_gave_a_tensor():
    assert _pooled(torch.ones(2, 3)).shape == (2, 3)


def rewritten(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("visual_projection.weight"), "they lack 'visual_projection.weight'"),
        (lambda tensors: tensors.update(score=torch.ones(1)), "they also have 'score'"),
        (
            lambda tensors: tensors.update({"text_projection.weight": torch.ones(3, 3)}),
            "they have another shape of 'text_projection.weight'",
        ),
    ],
)
def test_weights_that_do_not_fit_are_one_sentence_and_never_random(tmp_path, change, message):
    clips.clip(tmp_path)
    rewritten(tmp_path, change)
    with pytest.raises(UserError, match=f"the weights of {tmp_path} do not fit its configuration: {message}") as error:
        load_clip(tmp_path)
    assert "\n" not in str(error.value)


def test_positions_that_old_checkpoints_saved_are_passed_over(tmp_path):
    clips.clip(tmp_path)
    rewritten(tmp_path, lambda tensors: tensors.update({"text_model.embeddings.position_ids": torch.arange(16)[None]}))
    load_clip(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.safetensors", b"hello", "cannot read the weights of"),
        ("config.json", b"hello", "config.json is no configuration of a model"),
        ("config.json", b"[]", "config.json is no configuration of a model"),
        ("preprocessor_config.json", b"hello", "cannot read the image processor of"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path, name, content, message):
    clips.clip(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        load_clip(tmp_path)
    assert "\n" not in str(error.value)


def test_truncated_weights_are_one_sentence(tmp_path):
    clips.clip(tmp_path)
    content = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="cannot read the weights of"):
        load_clip(tmp_path)


class Harmful:
    def __reduce__(self):
        return print, ("this must not run",)


def test_a_pickle_of_tensors_is_read_and_one_of_objects_is_refused(tmp_path, capsys):
    model = clips.clip(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    assert torch.equal(load_clip(tmp_path).model.logit_scale, model.logit_scale)
    torch.save({**model.state_dict(), "more": Harmful()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot read the weights of"):
        load_clip(tmp_path)
    assert "must not run" not in capsys.readouterr().out


def test_a_model_of_another_kind_is_named(tmp_path):
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="is a model of type 'bert', not a CLIP-type one"):
        load_clip(tmp_path)
    CLIPTextModel.config_class().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="is a model of type 'clip_text_model', not a CLIP-type one"):
        load_clip(tmp_path)
