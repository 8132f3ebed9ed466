import json

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from mmalign.errors import UserError
from mmalign.scorers import open_clip as ours
from mmalign.scorers.load_clip import load_clip
from mmalign.scorers.open_clip import load_open_clip
from mmalign.scorers.preprocess import Preprocess
from tests.scorers import clips
from tests.scorers.clips import OPEN_CLIP_ARCH

TEXTS = ["a red circle", "a photo of a cat", "green " * 50, ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("open_clip")
    clips.open_clip(folder, mean=[0.5] * 3, std=[0.25] * 3, interpolation="bilinear", resize_mode="squash")
    return folder


@torch.no_grad()
def test_embeddings_are_those_of_open_clip(folder):
    clip, theirs = load_open_clip(folder), open_clip.create_model(f"local-dir:{folder}").eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS)
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    clip.eval()
    assert torch.equal(clip.tokenize(TEXTS), tokens)
    torch.testing.assert_close(clip.embed_text(tokens), theirs.encode_text(tokens))
    torch.testing.assert_close(clip.embed_image(pixels), theirs.encode_image(pixels))
    assert clip.logit_scale.item() == pytest.approx(100, rel=1e-5)
    assert clip.logit_scale.shape == ()


def test_texts_are_cut_with_their_end_kept(folder):
    tokens = load_open_clip(folder).tokenize(TEXTS)
    start, end, length = 49406, 49407, OPEN_CLIP_ARCH["text_cfg"]["context_length"]
    assert tokens.shape == (4, length)
    assert tokens[2, 0] == start
    assert tokens[2, -1] == end
    assert tokens[3].tolist() == [start, end] + [0] * (length - 2)


def test_the_recipe_for_pictures_is_the_one_in_the_folder(folder):
    expected = Preprocess(size=32, fit="squash", mean=(0.5,) * 3, std=(0.25,) * 3, interpolation=Preprocess.interpolation.BILINEAR)
    assert load_open_clip(folder).preprocess == expected


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_a_saved_model_is_read_back_by_us_and_by_open_clip(folder, tmp_path, fit):
    clip = load_open_clip(folder)
    clip.preprocess = Preprocess(size=32, fit=fit)
    clip.save(tmp_path / "saved")
    again, theirs = load_clip(tmp_path / "saved"), open_clip.create_model(f"local-dir:{tmp_path / 'saved'}")
    assert again.preprocess == clip.preprocess
    for model in (again.model, theirs):
        assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in clip.model.state_dict().items())


@pytest.mark.parametrize("prefix", ["", "local-dir:", "hf-hub:"])
def test_prefixes_of_open_clip_are_understood(folder, prefix):
    assert load_open_clip(f"{prefix}{folder}").config == OPEN_CLIP_ARCH


def test_a_checkpoint_file_goes_with_an_architecture(folder, tmp_path):
    state = clips.open_clip_model().state_dict()
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, tmp_path / "trained.pt")
    (tmp_path / "arch.json").write_text(json.dumps(OPEN_CLIP_ARCH))
    found = load_open_clip(tmp_path / "trained.pt", arch=str(tmp_path / "arch.json")).model.state_dict()
    assert all(torch.equal(tensor, found[name]) for name, tensor in state.items())
    assert load_open_clip(folder / "open_clip_model.safetensors").preprocess.fit == "squash"  # the JSON beside the file
    with pytest.raises(UserError, match="arch says what a checkpoint file is of"):
        load_open_clip(folder, arch="ViT-B-32")
    with pytest.raises(UserError, match=r"say with arch what .*trained.pt is a checkpoint of"):
        load_open_clip(tmp_path / "trained.pt")


@pytest.mark.parametrize(
    ("arch", "tag", "quick"),
    [("ViT-L-14", "openai", True), ("ViT-L-14-quickgelu", "openai", True), ("ViT-H-14", "laion2b_s32b_b79k", False)],
)
def test_a_tag_says_which_activation_its_weights_were_trained_with(monkeypatch, arch, tag, quick):
    built = []
    monkeypatch.setattr(open_clip, "download_pretrained", lambda published: f"{published['hf_hub']}weights")
    monkeypatch.setattr(ours, "_assembled", lambda config, recipe, path: built.append((config, path)))
    load_clip(f"{arch}:{tag}")
    [(config, path)] = built
    assert config["quick_gelu"] is quick
    assert path.name == "weights"


def test_every_published_tag_is_one_that_we_can_prepare_pictures_for():
    for arch, tag in open_clip.list_pretrained():
        recipe = ours._preprocess(open_clip.get_model_config(arch), open_clip.get_pretrained_cfg(arch, tag))
        assert recipe.fit in ("crop", "squash")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("ViT-L-15:openai", "no architecture 'ViT-L-15'; did you mean 'ViT-L-14' or 'ViT-L-16'"),
        ("ViT-L-14:opena1", "no weights 'opena1' of ViT-L-14; did you mean 'openai'"),
        ("ViT-L-14:openai", "cannot download ViT-L-14:openai .*give the file with arch='ViT-L-14-quickgelu'"),
        ("hf-hub:owner/name", "cannot get open_clip_config.json of owner/name from the hub"),
    ],
)
def test_what_is_not_there_is_said_in_a_sentence(place, message):
    with pytest.raises(UserError, match=message) as error:
        load_clip(place)
    assert "\n" not in str(error.value)


def test_a_folder_without_weights_and_a_broken_configuration_are_sentences(tmp_path):
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": OPEN_CLIP_ARCH}))
    with pytest.raises(UserError, match="holds no open_clip_model.safetensors"):
        load_open_clip(tmp_path)
    (tmp_path / "open_clip_model.safetensors").touch()
    (tmp_path / "open_clip_config.json").write_text("hello")
    with pytest.raises(UserError, match="open_clip_config.json is no configuration of open_clip"):
        load_open_clip(tmp_path)
    (tmp_path / "open_clip_config.json").write_text('{"model_cfg": {"embed_dim": 3}}')
    with pytest.raises(UserError, match="open_clip_config.json is no configuration of open_clip: it has no 'text_cfg'"):
        load_open_clip(tmp_path)
    clips.open_clip(tmp_path)
    (tmp_path / "open_clip_config.json").write_text(json.dumps({**OPEN_CLIP_ARCH, "third_tower": 1}))
    with pytest.raises(UserError, match="open_clip cannot build the model of .*third_tower"):
        load_open_clip(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("ln_final.weight"), "no tensor 'ln_final.weight'"),
        (lambda state: state.update(score=torch.ones(1)), "also has 'score'"),
        (lambda state: state.update(text_projection=torch.ones(16, 8)), "'text_projection' has shape"),
    ],
)
def test_a_checkpoint_of_another_architecture_is_one_sentence(tmp_path, change, message):
    state = clips.open_clip_model().state_dict()
    change(state)
    save_file(state, tmp_path / "open_clip_model.safetensors")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": OPEN_CLIP_ARCH}))
    with pytest.raises(UserError, match=f"open_clip_model.safetensors .*{message}"):
        load_open_clip(tmp_path)


def test_half_precision_and_a_temperature_with_an_axis_are_read(tmp_path):
    state = {name: tensor.half() for name, tensor in clips.open_clip_model().state_dict().items()}
    state["logit_scale"] = state["logit_scale"].reshape(1)
    save_file(state, tmp_path / "weights.safetensors")
    (tmp_path / "open_clip_config.json").write_text(json.dumps(OPEN_CLIP_ARCH))
    clip = load_open_clip(tmp_path / "weights.safetensors")
    assert {parameter.dtype for parameter in clip.parameters()} == {torch.float32}
    assert clip.log_scale.shape == ()


def test_a_tokenizer_that_lies_elsewhere_and_cannot_be_had_is_a_sentence(tmp_path):
    clips.open_clip(tmp_path)
    config = {**OPEN_CLIP_ARCH, "text_cfg": {**OPEN_CLIP_ARCH["text_cfg"], "hf_tokenizer_name": "owner/tokenizer"}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="open_clip cannot build the tokenizer of .*open_clip_model.safetensors"):
        load_open_clip(tmp_path)
    clips.tokenizer().save_pretrained(tmp_path)
    assert load_open_clip(tmp_path).tokenize(["a red circle"]).shape == (1, 16)
