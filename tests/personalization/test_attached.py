"""What people do to a pipeline before and after a conditioner is attached: it draws the same, or says what is wrong."""

import copy

import pytest
import torch
from accelerate import cpu_offload, cpu_offload_with_hook
from diffusers.models.attention_processor import AttnProcessor
from peft import LoraConfig
from torch.testing import assert_close

from mmalign.errors import UserError
from mmalign.personalization import UserConditioner
from mmalign.personalization.attention import WithUser
from tests import tiny
from tests.personalization.drawing import FAMILIES, TOKENS, WIDTH, conditioner, denoiser_of, drawn, for_user, users

PROMPTS = ("a red circle", "a photo of a cat")


def pipeline(name):
    pipe = FAMILIES[name]()
    pipe.set_progress_bar_config(disable=True)
    return pipe


def for_ann_and_nobody(pipe, name):
    return drawn(pipe, name, PROMPTS, **for_user(name, ["ann", None]))


def add_lora(pipe):
    torch.manual_seed(11)
    denoiser_of(pipe).add_adapter(LoraConfig(r=2, target_modules=["to_out.0", "to_q"], init_lora_weights=False))


@pytest.mark.parametrize("name", FAMILIES)
def test_attached_again_it_draws_the_same(name):
    pipe = pipeline(name)
    made = conditioner(pipe).attach(pipe)
    first = for_ann_and_nobody(pipe, name)
    made.detach().detach()
    assert torch.equal(for_ann_and_nobody(made.attach(pipe) and pipe, name), first)


@pytest.mark.parametrize("name", ["sdxl", "sd3"])
def test_a_lora_may_come_before_or_after_and_go(name):
    before, after = pipeline(name), pipeline(name)
    add_lora(before)
    conditioner(before).attach(before)
    conditioner(after).attach(after)
    without = for_ann_and_nobody(after, name)
    add_lora(after)
    both = for_ann_and_nobody(before, name)
    assert torch.equal(for_ann_and_nobody(after, name), both)
    assert not torch.allclose(both, without, atol=1e-3)
    denoiser_of(after).delete_adapters("default")
    assert_close(for_ann_and_nobody(after, name), without)


def test_the_strength_of_a_lora_stands_beside_the_user():
    """Both are said in one place; at 0 the LoRA is away and the user is not."""
    pipe = pipeline("sd")
    conditioner(pipe).attach(pipe)
    without = drawn(pipe, "sd", cross_attention_kwargs={"user": "ann"})
    add_lora(pipe)
    assert_close(drawn(pipe, "sd", cross_attention_kwargs={"user": "ann", "scale": 0.0}), without)
    half = drawn(pipe, "sd", cross_attention_kwargs={"user": "ann", "scale": 0.5})
    assert not torch.allclose(half, without, atol=1e-4)
    assert not torch.allclose(half, drawn(pipe, "sd", cross_attention_kwargs={"user": "ann"}), atol=1e-4)


def test_a_conditioner_saved_in_half_precision_is_read_with_its_numbers(tmp_path):
    pipe = pipeline("sd3")
    made = conditioner(pipe).attach(pipe)
    whole = for_ann_and_nobody(pipe, "sd3")
    made.detach().to(torch.bfloat16).save(tmp_path)
    again = UserConditioner.load(tmp_path)
    for name, parameter in again.state_dict().items():
        assert parameter.dtype == torch.float32
        assert torch.equal(parameter, made.state_dict()[name].float())
    assert torch.equal(again.users["ann"], users()["ann"])
    again.attach(pipe)
    halved = for_ann_and_nobody(pipe, "sd3")
    assert_close(halved, whole, atol=3e-2, rtol=0)
    assert torch.equal(halved[1:], whole[1:])  # nobody has no numbers


def test_embeddings_of_any_precision_stand_in_one_list():
    pipe = pipeline("sd")
    made = conditioner(pipe).attach(pipe)
    ann = users()["ann"].bfloat16()
    given = made.given([ann, None, "ben"])
    assert_close(given, made.given([ann.float(), None, users()["ben"]]))
    assert torch.equal(given[1], torch.zeros_like(given[1]))


def test_it_follows_the_denoiser_to_another_device():
    """Without an accelerator here: a device that holds no numbers."""
    pipe = pipeline("sd")
    made = conditioner(pipe).attach(pipe)
    sample = torch.empty(4, 4, 8, 8, device="meta")
    _, given = made._before_forward(pipe.unet, (sample,), {"cross_attention_kwargs": {"user": ["ann", None], "scale": 0.5}})
    tokens, scale = given["cross_attention_kwargs"]["ip_hidden_states"]
    assert (tokens.device.type, scale.device.type) == ("meta", "meta")
    assert tokens.shape[0] == 4
    assert given["cross_attention_kwargs"].keys() == {"scale", "ip_hidden_states"}
    assert {parameter.device.type for parameter in made.parameters()} == {"meta"}


@pytest.mark.parametrize("first", ["attached", "offloaded"])
@pytest.mark.parametrize("offload", [cpu_offload, cpu_offload_with_hook])
def test_weights_may_wait_elsewhere_for_their_turn(offload, first):
    """What enable_model_cpu_offload and enable_sequential_cpu_offload do to a denoiser, with the accelerator's part played by the CPU."""
    pipe = pipeline("sdxl")
    made = conditioner(pipe)
    wanted = for_ann_and_nobody(made.attach(pipe) and pipe, "sdxl")
    if first == "offloaded":
        made.detach()
    offload(pipe.unet, execution_device="cpu")
    if first == "offloaded":
        made.attach(pipe)
    with torch.no_grad():
        assert torch.equal(for_ann_and_nobody(pipe, "sdxl"), wanted)


@pytest.mark.parametrize(("name", "how"), [("sd", "before"), ("sd3", "after"), ("sd", "in place"), ("sd", "blocks")])
def test_a_compiled_denoiser_listens_and_changing_users_compiles_nothing_anew(name, how):
    """A whole graph is asked for; the users are brought in outside it."""
    torch._dynamo.reset()
    pipe, part = pipeline(name), {"sd": "unet", "sd3": "transformer"}[name]
    made, whole = conditioner(pipe), {"backend": "eager", "fullgraph": True}
    said = asked_by_hand(name)

    @torch.no_grad()
    def answer(*who):
        return getattr(pipe, part)(**said, **for_user(name, list(who))).sample

    made.attach(pipe)
    plain = [answer("ann", None), answer("ben", "ann")]
    if how == "before":
        made.detach()
        setattr(pipe, part, torch.compile(getattr(pipe, part), **whole))
        made.attach(pipe)
    elif how == "after":
        setattr(pipe, part, torch.compile(getattr(pipe, part), **whole))
    elif how == "in place":
        getattr(pipe, part).compile(**whole)
    else:
        getattr(pipe, part).compile_repeated_blocks(**whole)
    assert_close(answer("ann", None), plain[0], atol=1e-5, rtol=1e-5)
    with torch.compiler.set_stance("fail_on_recompile"):
        assert_close(answer("ben", "ann"), plain[1], atol=1e-5, rtol=1e-5)


def asked_by_hand(name):
    """What a denoiser is called with, for two pictures."""
    sample, times = torch.randn(2, 4, 8, 8), torch.tensor([10, 500])
    if name == "sd":
        return {"sample": sample, "timestep": times, "encoder_hidden_states": torch.randn(2, 6, tiny.WIDTH)}
    text = {"encoder_hidden_states": torch.randn(2, 6, 2 * tiny.WIDTH), "pooled_projections": torch.randn(2, 2 * tiny.WIDTH)}
    return {"hidden_states": sample, "timestep": times, **text}


def test_a_copy_of_a_pipeline_has_a_conditioner_of_its_own():
    pipe = pipeline("sd")
    made = conditioner(pipe).attach(pipe)
    told = for_ann_and_nobody(pipe, "sd")
    other = copy.deepcopy(pipe)
    made.scale = 0.0
    assert torch.equal(for_ann_and_nobody(other, "sd"), told)
    made.detach()
    assert torch.equal(for_ann_and_nobody(other, "sd"), told)
    assert not any(isinstance(processor, WithUser) for processor in pipe.unet.attn_processors.values())


def test_processors_that_are_set_later_are_told_and_stay():
    pipe = pipeline("sd")
    made = conditioner(pipe).attach(pipe)
    base = drawn(pipe, "sd")
    pipe.unet.set_attn_processor(AttnProcessor())
    with pytest.raises(UserError, match="AttnProcessor took the conditioner's place.*attach after it is set"):
        drawn(pipe, "sd", **for_user("sd", "ann"))
    assert_close(drawn(pipe, "sd"), base, atol=1e-5, rtol=1e-5)
    made.detach()
    assert {type(processor) for processor in pipe.unet.attn_processors.values()} == {AttnProcessor}
    made.attach(pipe)
    assert not torch.allclose(drawn(pipe, "sd", **for_user("sd", "ann")), base, atol=1e-3)


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ([], "the list of users is empty"),
        (7, "7 is no user; give a name"),
        ([None, torch.zeros(TOKENS, WIDTH + 1)], r"\(3, 5\), not \(3, 6\)"),
        (torch.zeros(1, TOKENS, WIDTH), r"\(3, 5\), not \(1, 3, 5\)"),
        ({"ann": 0.5, "zoe": 0.5}, "no user 'zoe'"),
    ],
)
def test_what_is_no_user_is_told_in_a_sentence(user, words):
    pipe = pipeline("sd")
    conditioner(pipe).attach(pipe)
    with pytest.raises(UserError, match=words):
        drawn(pipe, "sd", cross_attention_kwargs={"user": user})
