"""The conditioner on stock pipelines: what it changes, what it must not, and whose formula it follows."""

import copy

import pytest
import torch
from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
from peft import LoraConfig
from torch.testing import assert_close

from mmalign.errors import UserError
from mmalign.personalization import UserConditioner
from mmalign.personalization.embeddings import UserRows
from tests import tiny
from tests.personalization.drawing import FAMILIES, KWARG, TOKENS, WIDTH, conditioner, denoiser_of, drawn, for_user, users


@pytest.fixture(params=FAMILIES)
def family(request):
    pipe = FAMILIES[request.param]()
    pipe.set_progress_bar_config(disable=True)
    return request.param, pipe


def test_one_token_may_be_spread_so_that_attention_has_a_choice():
    pipe = FAMILIES["sdxl"]()
    made = UserConditioner.fitting(denoiser_of(pipe), 1, 3, dim=8, spread=4)
    embedding = torch.randn(1, 1, 3)
    told = made.tokens(embedding)
    assert told.shape == (1, 4, 8)
    assert not torch.allclose(told[0, 0], told[0, 1])
    torch.testing.assert_close(told.mean(-1), torch.zeros(1, 4), atol=1e-5, rtol=0)  # each token is normalized alone
    assert torch.equal(made.tokens(embedding, torch.tensor([False])), torch.zeros(1, 4, 8))
    assert UserConditioner.fitting(denoiser_of(pipe), TOKENS, WIDTH).shape.spread == 1
    assert UserConditioner.fitting(denoiser_of(pipe), TOKENS, WIDTH, spread=2).given([torch.zeros(TOKENS, WIDTH)]).shape[1] == 2 * TOKENS


def test_attaching_and_detaching_change_nothing_bit_for_bit(family):
    name, pipe = family
    before, keys = drawn(pipe, name), list(denoiser_of(pipe).state_dict())
    processors = dict(denoiser_of(pipe).attn_processors)
    fresh = conditioner(pipe, learned=False).attach(pipe)
    assert torch.equal(drawn(pipe, name, **for_user(name, "ann")), before)
    fresh.detach()
    learned = conditioner(pipe).attach(pipe)
    assert torch.equal(drawn(pipe, name), before)
    assert torch.equal(drawn(pipe, name, **for_user(name, None)), before)
    learned.scale = 0.0
    assert torch.equal(drawn(pipe, name, **for_user(name, "ann")), before)
    learned.scale = 1.0
    assert not torch.allclose(drawn(pipe, name, **for_user(name, "ann")), before)
    assert list(denoiser_of(pipe).state_dict()) == keys
    learned.detach()
    assert torch.equal(drawn(pipe, name), before)
    assert dict(denoiser_of(pipe).attn_processors) == processors


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_two_users_in_one_batch_are_two_batches_of_one(family, guidance):
    name, pipe = family
    conditioner(pipe).attach(pipe)
    prompts = ("a red circle", "a photo of a cat")
    both = drawn(pipe, name, prompts, guidance, **for_user(name, ["ann", None]))
    plain = drawn(pipe, name, prompts, guidance)
    alone = drawn(pipe, name, prompts, guidance, **for_user(name, "ann"))
    assert_close(both[:1], alone[:1], atol=1e-5, rtol=1e-5)
    assert_close(both[1:], plain[1:], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(both[1:], alone[1:], atol=1e-3)


def test_several_pictures_of_a_prompt_are_for_its_user(family):
    name, pipe = family
    conditioner(pipe).attach(pipe)
    prompts = ("a red circle", "a photo of a cat")
    pictures = drawn(pipe, name, prompts, num_images_per_prompt=2, **for_user(name, ["ann", "ben"]))
    embeddings = users()
    spelled = drawn(
        pipe,
        name,
        [prompt for prompt in prompts for _ in range(2)],
        **for_user(name, [embeddings[n] for n in ("ann", "ann", "ben", "ben")]),
    )
    assert_close(pictures, spelled, atol=1e-5, rtol=1e-5)


def test_the_formula_is_that_of_decoupled_attention_as_published():
    """diffusers' own processor for decoupled cross-attention, given the same keys, values and tokens."""
    pipe = tiny.sd()
    made = conditioner(pipe)
    sample, times, text = torch.randn(2, 4, 8, 8), torch.tensor([10, 500]), torch.randn(2, 6, tiny.WIDTH)
    tokens = made.given(["ann", "ben"]).detach()
    made.scale = 0.7
    made.attach(pipe)
    ours = pipe.unet(sample, times, text, cross_attention_kwargs={"user": ["ann", "ben"]}).sample
    made.detach()

    published = {}
    for layer, attn in ((n.removesuffix(".processor"), p) for n, p in pipe.unet.attn_processors.items()):
        key = layer.replace(".", "-")
        if key not in made.keys:
            published[f"{layer}.processor"] = attn
            continue
        inner = made.shape.layers[layer]
        one = IPAdapterAttnProcessor2_0(inner, 8, num_tokens=(TOKENS,), scale=0.7)
        one.to_k_ip[0].weight.data, one.to_v_ip[0].weight.data = made.keys[key].weight.data, made.values[key].weight.data
        published[f"{layer}.processor"] = one
    pipe.unet.set_attn_processor(published)

    class Given(torch.nn.Module):
        def forward(self, embeddings):
            return embeddings

    pipe.unet.encoder_hid_proj = Given()
    pipe.unet.config.encoder_hid_dim_type = "ip_image_proj"
    theirs = pipe.unet(sample, times, text, added_cond_kwargs={"image_embeds": [tokens[:, None].flatten(1, 2)[:, None].squeeze(1)]}).sample
    assert_close(ours, theirs, atol=2e-5, rtol=1e-4)


def test_a_lora_added_later_leaves_the_conditioner_trainable_and_acts_in_it():
    pipe = tiny.sd()
    made = conditioner(pipe).attach(pipe)
    pipe.unet.requires_grad_(False)
    pipe.unet.add_adapter(LoraConfig(r=2, target_modules=["to_out.0", "to_q"], init_lora_weights=False))
    sample, times, text = torch.randn(1, 4, 8, 8), torch.tensor([10]), torch.randn(1, 6, tiny.WIDTH)
    with_lora = pipe.unet(sample, times, text, cross_attention_kwargs={"user": "ann"}).sample
    with_lora.square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in made.parameters())
    # the same with the LoRA's product added to the weights
    pipe.unet.fuse_lora()
    assert_close(pipe.unet(sample, times, text, cross_attention_kwargs={"user": "ann"}).sample, with_lora, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["sd", "sd3"])
def test_gradient_checkpointing_gives_the_same_gradients(name):
    pipe = FAMILIES[name]()
    denoiser = denoiser_of(pipe).train()
    made, found = conditioner(pipe).attach(pipe), []
    text = torch.randn(2, 6, tiny.WIDTH)
    call = {"encoder_hidden_states": text, "timestep": torch.tensor([10, 500]), KWARG[name]: {"user": ["ann", None]}}
    if name == "sd3":
        call["pooled_projections"] = torch.randn(2, denoiser.config.pooled_projection_dim)
        call["encoder_hidden_states"] = torch.randn(2, 6, denoiser.config.joint_attention_dim)
    sample = torch.randn(2, 4, 8, 8)
    for checkpointing in (False, True):
        denoiser.enable_gradient_checkpointing() if checkpointing else denoiser.disable_gradient_checkpointing()
        made.zero_grad()
        denoiser(sample, **call).sample.square().mean().backward()
        found.append([parameter.grad.clone() for parameter in made.parameters()])
    for plain, checkpointed in zip(*found, strict=True):
        assert_close(plain, checkpointed)


def test_nobody_gives_no_gradient_and_rows_keep_apart():
    pipe = tiny.sd()
    made = conditioner(pipe).attach(pipe)
    rows = torch.randn(2, TOKENS, WIDTH, requires_grad=True)
    user = UserRows(rows, torch.tensor([True, False]))
    sample, text = torch.randn(2, 4, 8, 8), torch.randn(2, 6, tiny.WIDTH)
    pipe.unet(sample, torch.tensor([10, 500]), text, cross_attention_kwargs={"user": user}).sample.square().mean().backward()
    assert rows.grad[0].abs().sum() > 0
    assert rows.grad[1].abs().sum() == 0
    assert made.project[0].weight.grad is not None


def test_a_saved_conditioner_draws_the_same_beside_a_copy_of_its_base(tmp_path):
    pipe = tiny.sdxl()
    pipe.set_progress_bar_config(disable=True)
    other = copy.deepcopy(pipe)
    made = conditioner(pipe).attach(pipe)
    path = made.save(tmp_path)
    assert path.name == "user_conditioner.safetensors"
    again = UserConditioner.load(tmp_path).attach(other)
    assert list(again.users) == ["ann", "ben"]
    mixture = {"user": {"ann": 0.25, "ben": 0.75}}
    pictures = drawn(other, "sdxl", cross_attention_kwargs=mixture)
    assert torch.equal(pictures, drawn(pipe, "sdxl", cross_attention_kwargs=mixture))
    embedding = 0.25 * users()["ann"] + 0.75 * users()["ben"]
    assert torch.equal(pictures, drawn(pipe, "sdxl", cross_attention_kwargs={"user": embedding}))


def test_half_precision_denoisers_keep_a_float32_conditioner():
    pipe = tiny.sd()
    pipe.unet.to(torch.bfloat16)
    made = conditioner(pipe).attach(pipe)
    sample, text = torch.randn(1, 4, 8, 8, dtype=torch.bfloat16), torch.randn(1, 6, tiny.WIDTH, dtype=torch.bfloat16)
    out = pipe.unet(sample, torch.tensor([10]), text, cross_attention_kwargs={"user": "ann"}).sample
    assert out.dtype == torch.bfloat16
    out.float().square().mean().backward()
    assert {parameter.grad.dtype for parameter in made.parameters()} == {torch.float32}


def test_mistakes_are_told_in_a_sentence(tmp_path):
    pipe = tiny.sd()
    pipe.set_progress_bar_config(disable=True)
    made = conditioner(pipe).attach(pipe)
    for call, words in (
        ({"user": "anne"}, "no user 'anne'.*'ann'"),
        ({"user": torch.zeros(TOKENS, WIDTH + 1)}, r"\(3, 5\), not \(3, 6\)"),
        ({"user": ["ann", "ben", "ann"]}, "3 users for 1 pictures"),
        ({"user": {}}, "nobody"),
    ):
        with pytest.raises(UserError, match=words):
            drawn(pipe, "sd", cross_attention_kwargs=call)
    with pytest.raises(UserError, match="attached already"):
        made.attach(pipe)
    with pytest.raises(UserError, match="attached already"):
        conditioner(pipe).attach(pipe)
    made.detach()
    with pytest.raises(UserError, match="another denoiser"):
        conditioner(tiny.sd3()).attach(pipe)
    (tmp_path / "user_conditioner.safetensors").write_bytes(b"x")
    with pytest.raises(UserError, match="cannot be read"):
        UserConditioner.load(tmp_path)


def test_a_pipeline_that_cannot_be_told_of_a_user_is_refused():
    pipe = tiny.sd()

    class Deaf(type(pipe)):
        def __call__(self, prompt):
            """Hands nothing on."""

    deaf = Deaf(**pipe.components, requires_safety_checker=False)
    with pytest.raises(UserError, match="Deaf hands nothing on to attention.*SD, SDXL or SD3"):
        conditioner(pipe).attach(deaf)
    with pytest.raises(UserError, match="Linear has no attention"):
        UserConditioner.fitting(torch.nn.Linear(2, 2), TOKENS, WIDTH)


def test_rows_for_all_pictures_of_a_guided_call_are_taken_as_they_are():
    """Both halves of the batch, as who trains or samples by hand gives them; the pipeline's own guidance is not asked then."""
    pipe = tiny.sd()
    made = conditioner(pipe).attach(pipe)
    drawn(pipe, "sd", guidance=3.0)  # which leaves a guidance behind
    sample, text = torch.randn(2, 4, 8, 8), torch.randn(2, 6, tiny.WIDTH)
    times = torch.tensor([10, 500])
    rows = UserRows(torch.stack(list(users().values())))
    with torch.no_grad():
        given = pipe.unet(sample, times, text, cross_attention_kwargs={"user": rows}).sample
        made.detach()
        spelled = made.attach(pipe.unet) and pipe.unet(sample, times, text, cross_attention_kwargs={"user": ["ann", "ben"]}).sample
    assert torch.equal(given, spelled)
