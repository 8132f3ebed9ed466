"""Steps that train text encoders, against the same steps by hand with the stock libraries alone."""

import pytest
import torch
from torch.nn.functional import logsigmoid

from mmalign import pipelines
from mmalign.config import LoraAdapterConfig, TrainConfig
from mmalign.diffusion.policy import DiffusionBatch, DiffusionPolicy
from mmalign.geometry import Geometry
from mmalign.objectives.diffusion_dpo import DiffusionDPO
from mmalign.training.optimizer import Apart, make_optimizer
from mmalign.training.order import generator
from mmalign.training.pool import holding, trained_tensors
from mmalign.training.trainable import trainable
from tests import tiny
from tests.pipelines.test_clip_encoders import moved

PROMPTS = ["a red circle", "", "a photo of a cat"]
BETA = 50.0


def batch_of(family, prompts=PROMPTS):
    """Pairs of random latents."""
    mean, std = (torch.rand(len(prompts), 2, 4, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    conditions = [family.image_conditioning(Geometry((20 + k, 18), (k, 1), (16, 16))) for k in range(2)]
    stacked = {name: torch.stack([one[name] for one in conditions]).expand(len(prompts), 2, 6) for name in conditions[0]}
    embeds, tokens, origins = family.encode_prompts(prompts), family.tokenize(prompts), ("",) * len(prompts)
    return DiffusionBatch(mean, std, embeds, stacked, origins, torch.ones(len(prompts)), tuple(range(len(prompts))), tokens=tokens)


def prepared(policy, batch):
    return policy.prepare(batch, [generator(0, "draw", position) for position in batch.positions])


def stock_errors(pipe, inputs):
    """Mean squared errors (B, 2) by the pipeline's own encoding of the prompts and its UNet."""
    embeds, _, pooled, _ = pipe.encode_prompt(PROMPTS, device="cpu", do_classifier_free_guidance=False)
    named = torch.tensor([float(prompt != "") for prompt in PROMPTS])
    embeds, pooled = embeds * named[:, None, None], pooled * named[:, None]  # SDXL's pipeline takes zeros for no prompt
    added = {"text_embeds": pooled.repeat_interleave(2, 0), "time_ids": inputs.conditioning["time_ids"]}
    noisy, timesteps = inputs.noisy.flatten(0, 1), inputs.timesteps.repeat_interleave(2)
    predicted = pipe.unet(noisy, timesteps, encoder_hidden_states=embeds.repeat_interleave(2, 0), added_cond_kwargs=added).sample
    return (predicted - inputs.target.flatten(0, 1)).square().flatten(1).mean(1).unflatten(0, (-1, 2))


def test_a_steps_gradient_is_that_of_the_plain_pipeline(tmp_path):
    family = pipelines.load(tiny.sdxl())
    trained = moved(family)
    policy = DiffusionPolicy(family, trained.module, trained.reference)
    base, plain = tiny.sdxl(), tiny.sdxl()
    batch = batch_of(pipelines.load(base))
    inputs = prepared(policy, batch)
    loss = DiffusionDPO(beta=BETA)(policy, inputs).loss.mean()
    loss.backward()

    trained.save(tmp_path)
    plain.load_lora_weights(tmp_path, adapter_name="plain")
    parts = {"denoiser": plain.unet, "encoders.text_encoder": plain.text_encoder, "encoders.text_encoder_2": plain.text_encoder_2}
    adapters = {f"{part}.{name}": p for part, module in parts.items() for name, p in module.named_parameters() if ".plain." in name}
    for parameter in adapters.values():
        parameter.requires_grad_(True)
    with torch.no_grad():
        reference = stock_errors(base, inputs)
    ahead = stock_errors(plain, inputs) - reference
    wanted = -logsigmoid(-0.5 * BETA * (ahead[:, 0] - ahead[:, 1])).mean()
    wanted.backward()
    torch.testing.assert_close(loss, wanted)
    mine = {name.replace(".mmalign.", ".plain."): p for name, p in trained.module.named_parameters() if p.requires_grad}
    assert mine.keys() == adapters.keys()
    for name, parameter in mine.items():
        torch.testing.assert_close(parameter.grad, adapters[name].grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["sd", "sdxl", "sd3"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_before_the_first_step_policy_and_reference_are_equal_to_the_bit(name, dtype):
    family = pipelines.load(tiny.PIPELINES[name]().to(getattr(torch, dtype)))
    trained = trainable(family, LoraAdapterConfig(rank=2, text_encoders=True), seed=0)
    policy = DiffusionPolicy(family, trained.module, trained.reference, lambda: torch.autocast("cpu", torch.bfloat16))
    inputs = prepared(policy, batch_of(family))
    with torch.no_grad():
        mine = policy.errors(inputs)
        with policy.reference():
            assert torch.equal(policy.errors(inputs), mine)
    assert not any(p.grad is not None for p in trained.module.parameters())


def test_what_is_asked_alone_is_what_was_cached_and_no_gradient_reaches_the_reference():
    family = pipelines.load(tiny.sdxl())
    batch = batch_of(family)
    trained = moved(family)
    policy = DiffusionPolicy(family, trained.module, trained.reference)
    inputs = prepared(policy, batch)
    with policy.reference():
        live = policy.errors(inputs)
        assert not live.requires_grad
        for row in range(3):
            torch.testing.assert_close(policy.errors(inputs.row(row))[0], live[row])
    assert not torch.allclose(policy.errors(inputs).detach()[0], live[0], rtol=1e-3)


def test_an_earlier_state_has_its_own_text_encoders():
    family = pipelines.load(tiny.sdxl())
    batch = batch_of(family)
    trained = trainable(family, LoraAdapterConfig(rank=2, text_encoders=True), seed=0, member=True)
    policy = DiffusionPolicy(family, trained.module, trained.reference)
    inputs = prepared(policy, batch)
    earlier = {name: torch.randn(tensor.shape, generator=torch.Generator().manual_seed(3)) for name, tensor in _own(trained).items()}
    with torch.no_grad():
        with holding(trained.module, earlier):
            wanted, drawn = policy.errors(inputs), family.encode_prompts(PROMPTS)["text_embeds"]
        assert not torch.allclose(drawn, family.encode_prompts(PROMPTS)["text_embeds"])
        trained.reference.load(earlier)
        with policy.reference():
            assert torch.equal(policy.errors(inputs), wanted)
        assert not torch.allclose(policy.errors(inputs), wanted)
    assert not any("earlier" in name for name in _own(trained))


def _own(trained):
    return trained_tensors(trained.module)


@pytest.mark.parametrize("decay_vectors", [True, False])
def test_parameters_apart_have_their_own_rate(decay_vectors):
    parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((2, 2), (2,), (3, 3), (3,))]
    config = TrainConfig(learning_rate=1e-3, decay_vectors=decay_vectors)
    groups = make_optimizer(parameters, config, 1e-3, Apart("text_encoders", parameters[2:], 1e-4)).param_groups
    rates = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    none = config.adam_weight_decay if decay_vectors else 0.0
    assert [rates[id(p)] for p in parameters] == [(1e-3, 0.01), (1e-3, none), (1e-4, 0.01), (1e-4, none)]
