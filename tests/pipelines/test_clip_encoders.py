"""What a step makes of tokens with the text encoders in hand is what the family's own pipeline makes of the prompts."""

import pytest
import torch

from mmalign import pipelines
from mmalign.config import LoraAdapterConfig
from mmalign.diffusion.clip_family import ClipFamily
from mmalign.errors import UserError
from mmalign.training.prompted import encoders_trained, told_anew
from mmalign.training.trainable import trainable
from tests.tiny_families import EVERY

NAMES = ["sd", "sdxl", "sd3", "flux"]
PROMPTS = ["a red circle", "", "two green dogs on a white table and two green dogs on a white table", " "]


def moved(family, **adapter):
    """A LoRA in the denoiser and the text encoders, as training may have moved it."""
    trained = trainable(family, LoraAdapterConfig(rank=2, text_encoders=True, **adapter), seed=0)
    with torch.no_grad():
        for place, parameter in enumerate(p for p in trained.module.parameters() if p.requires_grad):
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(place)))
    return trained


@pytest.mark.parametrize("name", NAMES)
def test_tokens_are_embedded_as_the_pipeline_embeds_prompts(name):
    family = pipelines.load(EVERY[name]())
    before = family.encode_prompts(PROMPTS)
    trained = moved(family)
    wanted, tokens = family.encode_prompts(PROMPTS), family.tokenize(PROMPTS)
    fresh = trained.module.embedded(tokens)
    assert any(value.requires_grad for value in fresh.values())
    told = told_anew(before, {name: value.detach() for name, value in fresh.items()})
    for argument, value in told.items():
        assert torch.equal(value, wanted[argument])
    assert any(not torch.allclose(wanted[argument][0], before[argument][0], atol=1e-3) for argument in fresh)
    with trained.reference(None), torch.no_grad():
        for argument, value in told_anew(before, trained.module.embedded(tokens)).items():
            assert torch.equal(value, before[argument])


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_that_has_an_adapter_is_moved(name):
    """A layer that no embedding depends on would have no gradient, for which several processes would wait."""
    family = pipelines.load(EVERY[name]())
    trained = moved(family)
    sum(value.square().sum() for value in trained.module.embedded(family.tokenize(PROMPTS)).values()).backward()
    own = {name: p for name, p in trained.module.named_parameters() if p.requires_grad and name.startswith("encoders.")}
    assert {name.split(".")[1] for name in own} == set(family.encoders)
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in own.values())
    if name == "sdxl":  # of the first one's two layers the last one's states are not read
        assert not any("encoders.text_encoder.encoder.layers.1" in name for name in own)


@pytest.mark.parametrize("name", NAMES)
def test_the_pipeline_is_given_back_as_it_was(name):
    pipe = EVERY[name]()
    family = pipelines.load(pipe)
    before = {part: dict(encoder.state_dict()) for part, encoder in family.encoders.items()}
    trained = moved(family)
    trained.remove()
    for part, encoder in family.encoders.items():
        assert encoder.state_dict().keys() == before[part].keys()
        assert all(parameter.requires_grad for parameter in encoder.parameters())
        assert not hasattr(encoder, "peft_config")


def test_a_lora_that_the_user_had_loaded_is_part_of_the_base_and_stays(tmp_path):
    moved(pipelines.load(EVERY["sdxl"]())).save(tmp_path)
    pipe = EVERY["sdxl"]()
    pipe.load_lora_weights(tmp_path, adapter_name="own")
    family = pipelines.load(pipe)
    before, tokens = family.encode_prompts(PROMPTS), family.tokenize(PROMPTS)
    trained = trainable(family, LoraAdapterConfig(rank=4, text_encoders=True), seed=1)
    assert not any(".own." in name for name, parameter in trained.module.named_parameters() if parameter.requires_grad)
    with trained.reference(None), torch.no_grad():
        assert all(torch.equal(value, before[name]) for name, value in trained.module.embedded(tokens).items())
    trained.remove()
    after = family.encode_prompts(PROMPTS)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert pipe.get_list_adapters() == {"unet": ["own"], "text_encoder": ["own"], "text_encoder_2": ["own"]}


def test_activations_may_be_computed_again():
    family = pipelines.load(EVERY["sdxl"]())
    trained, tokens, grads = moved(family), family.tokenize(PROMPTS), []
    for recompute in (False, True):
        trained.module.recompute = recompute
        trained.module.zero_grad()
        trained.module.embedded(tokens)["text_embeds"].square().sum().backward()
        grads.append([p.grad.clone() for p in trained.module.parameters() if p.requires_grad and p.grad is not None])
    assert len(grads[0]) == len(grads[1]) > 0
    assert all(torch.equal(one, other) for one, other in zip(*grads, strict=True))


@pytest.mark.parametrize("name", ["sana", "pixart", "qwen_image", "wan"])
def test_families_whose_prompts_a_language_model_reads_refuse(name):
    family = pipelines.load(EVERY[name]())
    assert not isinstance(family, ClipFamily)
    with pytest.raises(UserError, match=f"adapter.text_encoders trains CLIP's, and {name} has none"):
        encoders_trained(family, LoraAdapterConfig(text_encoders=True))


def test_targets_that_fit_no_layer_are_told_and_nothing_is_left():
    family = pipelines.load(EVERY["sdxl"]())
    with pytest.raises(UserError, match=r"adapter.text_encoder_targets \(to_q\) fit no layer of CLIPTextModel"):
        trainable(family, LoraAdapterConfig(text_encoders=True, text_encoder_targets=["to_q"]), seed=0)
    assert not any("lora" in name for module in (family.denoiser, *family.encoders.values()) for name, _ in module.named_modules())
