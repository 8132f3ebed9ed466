"""What is exported, loaded by the libraries it is for: the pictures are those of the run's own adapter."""

import json

import pytest
import torch
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import load_file

from mmalign.cli import main
from mmalign.cli.commands import export as command
from mmalign.delivery import export as exporting
from mmalign.delivery.export import export, read_by
from mmalign.diffusion.adapters import PEFT_WEIGHTS
from mmalign.diffusion.aligned import LORA_FILE
from mmalign.errors import UserError
from tests.delivery.conftest import CONVOLUTIONS, opened, picture
from tests.stock import drawn_without_mmalign

DOUBLE_BLOCK = [f"transformer_blocks.0.{path}" for path in ("attn.to_q", "attn.to_v", "attn.add_k_proj", "attn.to_out.0", "ff.net.2")]
"""Of FLUX; diffusers reads a single block's only in the published width."""

CLIP = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]


def header(path):
    with safe_open(path, "pt") as file:
        return file.metadata()


def adapted(run, place=None):
    """A picture of the base with the run's adapter, or one exported, in it; by diffusers alone."""
    pipe = opened(run)
    if (run / PEFT_WEIGHTS).is_file():
        PeftModel.from_pretrained(pipe.transformer, run)  # puts its layers into the model itself
    else:
        pipe.load_lora_weights(place or run)
    return picture(pipe)


@pytest.mark.parametrize(
    ("name", "adapter"),
    [
        ("sd", {}),
        ("sd", {"targets": CONVOLUTIONS}),
        ("sdxl", {"targets": CONVOLUTIONS, "rslora": True}),
        ("flux", {"targets": DOUBLE_BLOCK}),
        ("sd", {"text_encoders": True, "text_encoder_targets": CLIP}),
        ("sdxl", {"text_encoders": True, "rslora": True}),
        ("flux", {"text_encoders": True, "targets": DOUBLE_BLOCK}),
    ],
    ids=str,
)
def test_diffusers_draws_the_same_from_kohyas_file(run_of, name, adapter):
    run = run_of(name, **adapter)
    base, wanted = picture(opened(run)), adapted(run)
    assert (wanted - base).abs().mean() > 0.003
    file = export(run, "kohya", dtype="float32")
    assert file == run / "exports" / "run_kohya.safetensors"
    torch.testing.assert_close(adapted(run, file), wanted, atol=1e-5, rtol=0)


def test_kohyas_file_has_alphas_and_says_what_it_is(run_of):
    run = run_of("sdxl", rslora=True)
    tensors, said = load_file(file := export(run, "kohya")), header(file)
    alphas = {name: tensor for name, tensor in tensors.items() if name.endswith(".alpha")}
    assert 3 * len(alphas) == len(tensors)
    # rank 4 and alpha 6 with peft's square root: 6 / sqrt(4) = 3 = 12 / 4
    assert {tensor.item() for tensor in alphas.values()} == {12.0}
    assert {tensor.dtype for name, tensor in tensors.items() if name not in alphas} == {torch.float16}
    assert all(name.startswith("lora_unet_") and name.partition(".")[0].count(".") == 0 for name in tensors)
    assert (said["ss_network_dim"], said["ss_network_alpha"], said["ss_base_model_version"]) == ("4", "12", "sdxl_base_v1-0")
    assert said["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora"


def test_sd3s_fused_layers_have_the_updates_of_their_parts(run_of):
    run = run_of("sd3", targets=["to_q", "to_v", "to_out.0"])
    tensors = load_file(export(run, "kohya", dtype="float32"))
    trained = load_file(run / LORA_FILE)
    name, own = "lora_unet_joint_blocks_0_x_block_attn_qkv", "transformer.transformer_blocks.0.attn"
    up, down, alpha = (tensors[f"{name}.{part}"] for part in ("lora_up.weight", "lora_down.weight", "alpha"))
    update = up @ down * alpha / down.shape[0]
    parts = {part: 6 / 4 * trained[f"{own}.{part}.lora_B.weight"] @ trained[f"{own}.{part}.lora_A.weight"] for part in ("to_q", "to_v")}
    torch.testing.assert_close(update, torch.cat([parts["to_q"], torch.zeros_like(parts["to_q"]), parts["to_v"]]))
    assert down.shape[0] == 3 * 4  # loaders that cut it into three find three of rank 4
    assert "lora_unet_joint_blocks_1_x_block_attn_proj.lora_up.weight" in tensors


@pytest.mark.parametrize("too", [False, True])
def test_comfyuis_file_of_a_dora_is_what_the_weights_have_more(run_of, too):
    run = run_of("sd", dora=True, text_encoders=too)
    with pytest.raises(UserError, match="no DoRA that any loader reads as it was trained; export comfyui"):
        export(run, "kohya")
    tensors = load_file(export(run, "comfyui", dtype="float32"))
    assert {name.rpartition(".")[2] for name in tensors} == {"diff"}
    pipe = opened(run)
    wanted = adapted(run)
    for prefix, part in {"lora_unet_": pipe.unet, "lora_te_text_model_": pipe.text_encoder}.items():
        for path, layer in part.named_modules():
            if (name := f"{prefix}{path.replace('.', '_')}.diff") in tensors:
                layer.weight.data += tensors.pop(name)
    assert not tensors
    torch.testing.assert_close(picture(pipe), wanted, atol=1e-5, rtol=0)


def test_text_encoders_have_kohyas_names_of_each_family(run_of):
    names = {"sd": {"lora_te_"}, "sdxl": {"lora_te1_", "lora_te2_"}, "sd3": {"lora_te1_", "lora_te2_"}, "flux": {"lora_te1_"}}
    for name, wanted in names.items():
        targets = {"targets": DOUBLE_BLOCK} if name == "flux" else {}
        tensors = load_file(export(run_of(name, text_encoders=True, **targets), "kohya"))
        own = [key for key in tensors if key.startswith("lora_te")]
        assert {key.partition("text_model_encoder_layers_")[0] for key in own} == wanted
        assert {key.partition(".")[2] for key in own} == {"lora_down.weight", "lora_up.weight", "alpha"}


def test_comfyuis_file_of_a_lora_is_kohyas(run_of):
    run = run_of("sd")
    first, second = export(run, "comfyui"), export(run, "kohya")
    assert load_file(first).keys() == load_file(second).keys()
    assert header(first) == header(second)


@pytest.mark.parametrize(("name", "adapter"), [("sd", {}), ("sdxl", {"text_encoders": True}), ("sd3", {}), ("pixart", {})], ids=str)
def test_the_merged_pipeline_draws_the_same_without_an_adapter(run_of, name, adapter):
    run = run_of(name, **adapter)
    place = export(run, "merged")
    from mmalign import pipelines

    merged = pipelines.open_pipeline(place)
    assert not any("lora" in path for path, _ in pipelines.load(merged).denoiser.named_modules())
    torch.testing.assert_close(picture(merged), adapted(run), atol=1e-5, rtol=0)
    assert (place / "README.md").read_text() == "a card"


def test_a_number_format_is_that_of_what_is_written(run_of):
    run = run_of("sd")
    place = export(run, "diffusers", dtype="float16")
    assert {tensor.dtype for tensor in load_file(place / LORA_FILE).values()} == {torch.float16}
    assert json.loads(header(place / LORA_FILE)["lora_adapter_metadata"])["unet.lora_alpha"] == 6.0
    torch.testing.assert_close(adapted(run, place), adapted(run), atol=0.02, rtol=0)
    index = json.loads((export(run, "merged", out=run / "half", dtype="bfloat16") / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionPipeline"
    assert {tensor.dtype for tensor in load_file(run / "half/unet/diffusion_pytorch_model.safetensors").values()} == {torch.bfloat16}


@pytest.mark.slow
def test_a_process_without_mmalign_loads_the_adapter_and_draws_the_same(run_of, tmp_path):
    run = run_of("sdxl")
    torch.testing.assert_close(drawn_without_mmalign(run.parent / "base", run, tmp_path), adapted(run), atol=1e-5, rtol=0)


def test_the_commands_forms_are_those_there_are():
    assert tuple(exporting.FORMS) == command.FORMS


def updates(run, place):
    """What an adapter adds to the base's layers once diffusers has loaded it, by their path."""
    pipe = opened(run)
    pipe.load_lora_weights(place)
    name = next(iter(pipe.transformer.peft_config))
    layers = {path: layer for path, layer in pipe.transformer.named_modules() if name in getattr(layer, "lora_A", ())}
    return {path: layer.scaling[name] * layer.lora_B[name].weight @ layer.lora_A[name].weight for path, layer in layers.items()}


ALL_OF_WAN = {"targets": ["to_k", "to_q", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2"]}


@pytest.mark.parametrize(
    ("name", "form", "adapter"),
    [
        ("sd3", "comfyui", {"rslora": True}),
        ("wan", "comfyui", {}),
        ("wan", "kohya", ALL_OF_WAN),
        ("qwen_image", "kohya", {}),
        ("qwen_image", "comfyui", {}),
    ],
    ids=str,
)
def test_diffusers_adds_the_same_from_what_it_is_said_to_read(run_of, name, form, adapter):
    run = run_of(name, **adapter)
    file = export(run, form, dtype="float32")
    assert "diffusers" in read_by(file)
    assert "NOT" not in read_by(file)
    made, wanted = updates(run, file), updates(run, run)
    assert made.keys() == wanted.keys()
    for path in wanted:
        torch.testing.assert_close(made[path], wanted[path])


def test_diffusers_changes_nothing_by_kohyas_file_of_sd3_and_it_is_said(run_of, capsys):
    run = run_of("sd3")
    assert main(["export", str(run), "--format", "kohya"]) == 0
    assert "NOT diffusers, which loads it without an error and changes nothing: export comfyui" in capsys.readouterr().err
    pipe = opened(run)
    pipe.load_lora_weights(run / "exports" / "run_kohya.safetensors")
    assert not pipe.get_list_adapters()


def test_diffusers_refuses_kohyas_file_of_wan_without_the_feed_forward_layers(run_of):
    run = run_of("wan")
    file = export(run, "kohya")
    assert "diffusers only if every block's feed-forward layers have a LoRA, too" in read_by(file)
    with pytest.raises(KeyError, match="blocks_0_ffn_0"):
        opened(run).load_lora_weights(file)


def test_comfyuis_file_of_pixart_has_diffusers_names_and_the_scale_in_its_weights(run_of):
    run = run_of("pixart")
    made = load_file(export(run, "comfyui", dtype="float32"))
    trained = {name.removeprefix("base_model.model."): tensor for name, tensor in load_file(run / PEFT_WEIGHTS).items()}
    assert made.keys() == {f"transformer.{name}" for name in trained}
    name = "transformer_blocks.0.attn2.to_k"
    first, second = (made[f"transformer.{name}.lora_{half}.weight"] for half in "BA")
    torch.testing.assert_close(first @ second, 6 / 4 * trained[f"{name}.lora_B.weight"] @ trained[f"{name}.lora_A.weight"])


def test_what_nothing_would_read_is_refused(run_of):
    for name, form, remedy in (("pixart", "kohya", "comfyui or merged"), ("sana", "kohya", "diffusers or merged")):
        with pytest.raises(UserError, match=f"no model of .* kind, so that nothing would read the file; export {remedy}"):
            export(run_of(name), form)


def test_what_cannot_be_exported_is_said(run_of, tmp_path):
    run = run_of("sd")
    with pytest.raises(UserError, match="there is no folder"):
        export(tmp_path / "missing", "kohya")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="neither pytorch_lora_weights.safetensors nor a denoiser"):
        export(tmp_path / "empty", "kohya")
    with pytest.raises(UserError, match=r"a name that ends in .safetensors"):
        export(run, "kohya", out=tmp_path / "folder")
    export(run, "diffusers")
    with pytest.raises(UserError, match="is there already"):
        export(run, "diffusers")
    (run / "config.yaml").unlink()
    with pytest.raises(UserError, match="give the base with --pretrained"):
        export(run, "kohya")
    assert export(run, "kohya", pretrained=str(run.parent / "base")).is_file()
    with pytest.raises(UserError, match="has no checkpoints"):
        export(run, "ema")
