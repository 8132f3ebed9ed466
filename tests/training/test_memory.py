"""The estimate of a step's memory, against what torch's profiler sees the allocator give out during real steps."""

from contextlib import nullcontext
from functools import partial

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from mmalign import pipelines
from mmalign.config import FullConfig, LoraAdapterConfig, TrainConfig
from mmalign.diffusion.policy import DenoisingInputs, DiffusionPolicy
from mmalign.objectives.diffusion_dpo import DiffusionDPO
from mmalign.training import step_memory
from mmalign.training.live_bytes import LiveBytes
from mmalign.training.memory import Memory, cuda_rules, estimate, states_of, stepped
from mmalign.training.optimizer import make_optimizer
from mmalign.training.run import train
from mmalign.training.trainable import trainable
from tests import tiny

OBJECTIVE = DiffusionDPO(beta=10.0)


def inputs(name, side=32, tokens=None):
    """Four pairs."""
    width = {"sd": tiny.WIDTH, "sdxl": 2 * tiny.WIDTH, "sd3": 2 * tiny.WIDTH}[name]
    conditioning = {"encoder_hidden_states": torch.randn(8, 16, width)}
    if name == "sdxl":
        conditioning |= {"text_embeds": torch.randn(8, tiny.WIDTH), "time_ids": torch.randn(8, 6)}
    if name == "sd3":
        conditioning |= {"pooled_projections": torch.randn(8, 2 * tiny.WIDTH)}
    latents = torch.randn(2, 4, 2, 4, side, side)
    return DenoisingInputs(latents[0], latents[1], torch.randint(0, 999, (4,)), conditioning, tokens=tokens or {})


def given_out(work):
    """The most bytes given out at one time, above those before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        work()
    found, waiting = [], list(seen.profiler.kineto_results.experimental_event_tree())
    while waiting:
        event = waiting.pop()
        waiting += event.children
        if str(event.tag).endswith("Allocation"):
            found.append((event.start_time_ns, event.extra_fields.alloc_size))
    now = peak = 0
    for _, size in sorted(found):
        now += size
        peak = max(peak, now)
    return peak


@pytest.mark.parametrize(
    ("name", "adapter", "settings"),
    [
        ("sdxl", LoraAdapterConfig(rank=4), {}),
        ("sdxl", LoraAdapterConfig(rank=4, text_encoders=True), {}),
        pytest.param("sd", FullConfig(), {"gradient_checkpointing": True, "mixed_precision": "bf16"}, marks=pytest.mark.slow),
        ("sd3", LoraAdapterConfig(rank=4), {"gradient_checkpointing": True}),
    ],
    ids=["sdxl, LoRA", "sdxl, text encoders too", "sd, all weights, checkpointed, bf16", "sd3, LoRA, checkpointed"],
)
def test_the_estimate_is_what_a_step_takes(name, adapter, settings):
    family, config = pipelines.load(tiny.PIPELINES[name]()), TrainConfig(**settings)
    half = config.mixed_precision == "bf16"
    trained = trainable(family, adapter, 0, autocast=half)
    if config.gradient_checkpointing:
        trained.module.enable_gradient_checkpointing()
    batch = inputs(name, 16 if name == "sd3" else 32, family.tokenize(tiny.WORDS) if getattr(adapter, "text_encoders", False) else None)
    counted = estimate(family, trained.module, trained.reference, OBJECTIVE, batch, config, "cpu")

    policy = DiffusionPolicy(
        family, trained.module, trained.reference, partial(torch.autocast, "cpu", torch.bfloat16) if half else nullcontext
    )
    parameters = [parameter for parameter in trained.module.parameters() if parameter.requires_grad]
    optimizer = make_optimizer(parameters, config, 1e-5)

    def step():
        OBJECTIVE(policy, batch).loss.mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    lasting = sum(tensor.numel() * tensor.element_size() for tensor in trained.module.state_dict().values())
    lasting += 2 * sum(parameter.numel() * 4 for parameter in parameters)
    lasting += sum(p.numel() * 4 for p in trained.reference.module.parameters()) if adapter.name == "full" else 0
    assert counted.peak == pytest.approx(lasting + given_out(step), rel=0.15)
    assert counted.gradients == sum(parameter.numel() * 4 for parameter in parameters)


def test_live_bytes_are_those_of_tensors_that_are_held():
    with LiveBytes() as counted:
        first = torch.zeros(1000)
        assert counted.now == 4000
        second = first + 1
        view = second[:10]
        assert counted.now == 8000
        del first, second
        assert counted.now == 4000
        del view
    assert (counted.now, counted.peak) == (0, 8000)
    with LiveBytes(multiple=512) as rounded:
        _ = torch.zeros(1)
    assert rounded.peak == 512


def test_what_each_optimizer_keeps():
    matrix, small = torch.zeros(64, 128), torch.zeros(10)

    def kept(tensor, optimizer):
        return sum(state.numel() * state.element_size() for state in states_of(tensor, optimizer))

    assert kept(matrix, "adamw") == 2 * 4 * 64 * 128
    assert kept(matrix, "adamw_8bit") == 2 * (64 * 128 + 4 * 64 * 128 // 256)
    assert kept(small, "adamw_8bit") == 2 * 4 * 10
    assert kept(matrix, "adafactor") == 4 * (64 + 128)


def test_under_cudas_rules_norms_are_in_float32():
    picture, norm = torch.randn(1, 8, 4, 4), torch.nn.GroupNorm(2, 8)
    with torch.autocast("cpu", torch.bfloat16):
        half = torch.nn.functional.conv2d(picture, torch.randn(8, 8, 1, 1))
        assert norm.bfloat16()(half).dtype == torch.bfloat16
        with cuda_rules():
            assert norm(half).dtype == torch.float32


@pytest.mark.slow
def test_a_gpus_norms_take_more_than_the_cpus_and_checkpoints_less():
    family = pipelines.load(tiny.sd())
    trained = trainable(family, LoraAdapterConfig(rank=4), 0, autocast=True)

    def peak(device, checkpointed):
        (trained.module.enable_gradient_checkpointing if checkpointed else trained.module.disable_gradient_checkpointing)()
        config = TrainConfig(mixed_precision="bf16", gradient_checkpointing=checkpointed)
        return estimate(family, trained.module, trained.reference, OBJECTIVE, inputs("sd"), config, device).activations

    assert peak("cuda", False) > 1.1 * peak("cpu", False)
    assert peak("cuda", True) < 0.7 * peak("cuda", False)


def test_the_parts_add_up_and_are_told():
    memory = Memory(weights=5 * 2**30, reference=0, gradients=2**20, optimizer=2**21, averages=0, others=0, activations=2**30)
    assert memory.peak == 6 * 2**30 + 3 * 2**20
    assert str(memory) == "6.0 GiB at its peak: weights 5.0 GiB, gradients 1.0 MiB, optimizer 2.0 MiB, activations 1.0 GiB"


def test_a_dry_run_tells_the_estimate_and_what_its_step_took(configured, capsys, monkeypatch):
    monkeypatch.setattr(step_memory, "LARGE", 0)
    train(configured(), dry_run=True)
    said = capsys.readouterr().out
    assert "memory on GPU  " in said
    assert "at its peak: weights" in said
    assert "(counted on this step)" in said
    monkeypatch.setattr(step_memory, "LARGE", 2**40)
    train(configured(), dry_run=True)
    assert "memory on GPU" not in capsys.readouterr().out


def test_a_fused_step_of_adamw_takes_nothing_beside_its_state():
    """The kernel of a CPU stands in for that of a GPU, which is called alike."""
    parameters = [torch.nn.Parameter(torch.randn(size)) for size in (1000, 200)]
    taken = {}
    for fused in (True, False):
        optimizer = torch.optim.AdamW(parameters, fused=fused, foreach=False)
        for _ in range(2):
            for parameter in parameters:
                parameter.grad = torch.ones_like(parameter)
            with LiveBytes() as counted:
                optimizer.step()
        taken[fused] = counted.peak
    assert taken[True] == 0
    assert taken[False] >= 4000
    for device, passing in (("cuda", 0), ("cpu", 4800)):
        with LiveBytes() as counted:
            stepped(parameters, "adamw", device)
        assert counted.peak == passing
