"""A run under DeepSpeed's ZeRO is a run: the same weights and numbers as one process, the same checkpoints, the same result."""

import json
import os
import shutil

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from mmalign.config import TrainConfig, load_training
from mmalign.errors import UserError
from mmalign.training import zero
from mmalign.training.optimizer import make_optimizer
from mmalign.training.run import train
from mmalign.training.split_memory import Split
from mmalign.training.zero_stepping import ZeroStepping, check
from tests.fresh import together

FULL, LORA = "unet/diffusion_pytorch_model.safetensors", "pytorch_lora_weights.safetensors"
RESULTS = {"full": FULL, "lora": LORA}
ADAPTERS = {"full": {"name": "full"}, "lora": {"name": "lora", "rank": 4}}
STAGE = "ACCELERATE_DEEPSPEED_ZERO_STAGE"
needed = pytest.mark.skipif(zero.missing(), reason="DeepSpeed is not installed")


@pytest.fixture(scope="module")
def made(base, pairs, tmp_path_factory):
    """Makes configurations in one folder, all of the same four steps of four rows, of which a process takes two at a time or one."""
    folder = tmp_path_factory.mktemp("zero")

    def make(out, adapter, processes, steps=4):
        settings = {"max_train_steps": steps, "train_batch_size": 2 // processes, "gradient_accumulation_steps": 2, "ema_decay": 0.5}
        # where a gradient is next to nothing, Adam would make a step of full length out of its rounding
        settings |= {"adam_epsilon": 1e-2, "learning_rate": 1e-2, "logging_steps": 1, "report_to": "none", "checkpointing_steps": 2}
        values = {
            "model": {"pretrained": str(base)},
            "adapter": ADAPTERS[adapter],
            "data": {"source": str(pairs), "cache_dir": str(folder / "cache")},
            "method": {"name": "diffusion_dpo", "beta": 50},
            "train": settings | {"resume_from_checkpoint": "latest", "max_grad_norm": 0.01},
            "output_dir": str(folder / out),
        }
        path = folder / f"{out}-{processes}-{steps}.yaml"
        path.write_text(json.dumps(values))
        return str(path)

    return make


def alone(path):
    return train(load_training(path, []))


def without_compiling():
    """DeepSpeed would compile a way of its own to send between processes on a CPU."""
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def runs(rank, *wanted):
    """Does runs (stage, configuration) one after the other; stage 0 is without DeepSpeed."""
    without_compiling()
    for stage, path in wanted:
        os.environ.update({zero.SWITCH: str(stage > 0), STAGE: str(stage)})
        train(load_training(path, []))


@pytest.fixture(scope="module")
def results(made):
    """The folders of all runs, by kind of adapter and by how they were run."""
    found = {}
    for adapter in ADAPTERS:
        found[adapter, "one"] = alone(made(f"{adapter}-one", adapter, 1))
        alone(made(f"{adapter}-joins", adapter, 1, 2))
    root = found["full", "one"].parent
    together(
        runs,
        *((stage, made(f"{adapter}-{stage}", adapter, 2)) for adapter in ADAPTERS for stage in (1, 2)),
        *((2, made(f"{adapter}-joins", adapter, 2)) for adapter in ADAPTERS),
        *((2, made(f"{adapter}-leaves", adapter, 2, 2)) for adapter in ADAPTERS),
        (1, made("lora-stopped", "lora", 2, 2)),
        (1, made("lora-stopped", "lora", 2)),
        (0, made("lora-copies", "lora", 2)),
    )
    for adapter in ADAPTERS:
        shutil.copytree(root / f"{adapter}-leaves", root / f"{adapter}-left")
        found[adapter, "left"] = alone(made(f"{adapter}-left", adapter, 1))
        found |= {(adapter, how): root / f"{adapter}-{how}" for how in ("1", "2", "joins")}
    return found | {("lora", how): root / f"lora-{how}" for how in ("stopped", "copies")}


@needed
@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("how", ["1", "2", "joins", "left"])
def test_two_processes_under_deepspeed_are_one(results, base, adapter, how):
    """By stage; also where they go on from one process without DeepSpeed, or one goes on from them."""
    straight, other = results[adapter, "one"], results[adapter, how]
    first, second = (load_file(folder / RESULTS[adapter]) for folder in (straight, other))
    assert first.keys() == second.keys()
    before = load_file(base / FULL) if adapter == "full" else {name: torch.zeros_like(first[name]) for name in first if "lora_B" in name}
    moved = max((first[name] - before[name]).abs().max().item() for name in before)
    assert max((first[name] - second[name]).abs().max().item() for name in first) < 1e-3 * moved
    assert moved > 1e-4
    lines = [[json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()] for folder in (straight, other)]
    assert [line["step"] for line in lines[1]] == [1, 2, 3, 4]
    for left, right in zip(*lines, strict=True):
        assert left == pytest.approx(right, rel=1e-3, abs=1e-5)


@needed
def test_adapters_are_those_of_copies_in_both_processes(results):
    """And a run that was stopped and goes on under as many processes is the same to the bit."""
    copies, split, stopped = (load_file(results["lora", how] / LORA) for how in ("copies", "1", "stopped"))
    for name in copies:
        torch.testing.assert_close(split[name], copies[name], rtol=0, atol=1e-6)
        assert torch.equal(stopped[name], split[name])


class Square(torch.nn.Module):
    """Weights of several shapes, of which nothing divides evenly, and one that is not trained."""

    def __init__(self):
        super().__init__()
        self.first, self.last = torch.nn.Linear(3, 5), torch.nn.Linear(5, 1, bias=False)
        self.frozen = torch.nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, numbers):
        return self.last(self.first(numbers).tanh()) * self.frozen


def stepping(model, stage, **settings):
    """DeepSpeed over a model, and its optimizer."""
    config = TrainConfig(train_batch_size=1, gradient_accumulation_steps=2, learning_rate=0.1, **settings)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    plan = (config.train_batch_size, config.gradient_accumulation_steps)
    return ZeroStepping(model, make_optimizer(trained, config, 0.1), zero.Zero(stage, {}, {}), config, *plan)


def steps_of(one, rank, count):
    """Takes steps on rows of which each process has its own; gives the norms."""
    norms = []
    for number in range(count):
        for micro in range(2):
            rows = torch.randn(2, 3, generator=torch.Generator().manual_seed(10 * number + micro))
            with one.part(last=micro == 1):
                loss = one.module(rows[rank : rank + 1]).square().mean() / 2
                one.backward(loss)
        norms.append(one.step(1.0).item())
    return norms


def by_hand(rank, stage, path):
    """Three steps of the small model, and one whose loss is not finite."""
    without_compiling()
    Accelerator(cpu=True)
    torch.manual_seed(0)
    model = Square()
    one = stepping(model, stage)
    numbers = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert one.split == Split(gradients=stage, optimizer=2, room=4 * (numbers // 2 + numbers))
    norms = steps_of(one, rank, 3)
    state = one.optimizer.state_dict()
    trained = [parameter.detach().clone() for parameter in model.parameters() if parameter.requires_grad]
    loss = one.module(torch.full((1, 3), float("nan"))).sum()
    with one.part(last=True):
        one.backward(loss)
    assert torch.isinf(one.step(1.0))
    assert all(torch.equal(a, b) for a, b in zip(trained, (p for p in model.parameters() if p.requires_grad), strict=True))
    if rank == 0:
        torch.save({"norms": norms, "state": state, "trained": trained}, path)
    one.close()


@needed
@pytest.mark.parametrize("stage", [1, 2])
def test_steps_and_the_state_are_those_of_torchs_adamw(stage, tmp_path):
    """Clipped, accumulated; the state as torch would load it; and what is not finite moves nothing."""
    together(by_hand, stage, str(tmp_path / "said.pt"))
    said = torch.load(tmp_path / "said.pt", weights_only=True)
    torch.manual_seed(0)
    model = Square()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.1, weight_decay=0.01)
    for number in range(3):
        for micro in range(2):
            rows = torch.randn(2, 3, generator=torch.Generator().manual_seed(10 * number + micro))
            (model(rows).square().mean() / 2).backward()
        assert said["norms"][number] == pytest.approx(torch.nn.utils.clip_grad_norm_(trained, 1.0).item(), rel=1e-5)
        optimizer.step()
        optimizer.zero_grad()
    for mine, other in zip(trained, said["trained"], strict=True):
        torch.testing.assert_close(mine.detach(), other, rtol=1e-5, atol=1e-6)
    straight = optimizer.state_dict()
    assert said["state"]["state"].keys() == straight["state"].keys()
    assert said["state"]["param_groups"] == straight["param_groups"]
    for place, values in straight["state"].items():
        assert values.keys() == said["state"]["state"][place].keys()
        for name, value in values.items():
            torch.testing.assert_close(said["state"]["state"][place][name], value, rtol=1e-4, atol=1e-6)


def launched(monkeypatch, tmp_path, settings=None, **flags):
    """What accelerate's launcher leaves in the environment, and a configuration in a file."""
    monkeypatch.setenv(zero.SWITCH, "true")
    for name, value in flags.items():
        monkeypatch.setenv(f"ACCELERATE_DEEPSPEED_{name}", value)
    if settings is not None:
        (tmp_path / "zero.json").write_text(json.dumps(settings))
        monkeypatch.setenv("ACCELERATE_DEEPSPEED_CONFIG_FILE", str(tmp_path / "zero.json"))


def test_what_the_launcher_says_is_read(monkeypatch, tmp_path):
    assert zero.asked() is None
    monkeypatch.setattr(zero, "missing", lambda: False)
    launched(monkeypatch, tmp_path, ZERO_STAGE="1", OFFLOAD_OPTIMIZER_DEVICE="none")
    assert zero.asked() == zero.Zero(1, {}, {})
    section = {"stage": 2, "reduce_bucket_size": "auto", "overlap_comm": True, "offload_optimizer": {"device": "none"}}
    left_open = {"train_batch_size": "auto", "gradient_clipping": "auto", "fp16": {"enabled": "auto", "loss_scale_window": 1000}}
    launched(monkeypatch, tmp_path, {"zero_optimization": section, "steps_per_print": 50, **left_open})
    assert zero.asked() == zero.Zero(2, {"stage": 2, "overlap_comm": True}, {"steps_per_print": 50})


@pytest.mark.parametrize(
    ("settings", "flags", "said"),
    [
        (None, {"ZERO_STAGE": "3"}, "stage 3 is not supported.*speed.shard true"),
        (None, {"ZERO_STAGE": "0"}, "stage is 0, which splits nothing"),
        (None, {"OFFLOAD_OPTIMIZER_DEVICE": "cpu"}, "offload is not supported"),
        ({"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}}, {}, "offload is not supported"),
        ({"zero_optimization": {"stage": 2}, "gradient_clipping": 0.5}, {}, "zero.json sets gradient_clipping"),
        ({"optimizer": {"type": "AdamW", "params": {"lr": "auto"}}}, {}, "zero.json sets optimizer"),
    ],
)
def test_what_runs_do_not_do_is_refused(monkeypatch, tmp_path, settings, flags, said):
    monkeypatch.setattr(zero, "missing", lambda: False)
    launched(monkeypatch, tmp_path, settings, **flags)
    with pytest.raises(UserError, match=said):
        zero.asked()


def test_a_package_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(zero, "missing", lambda: True)
    launched(monkeypatch, tmp_path)
    with pytest.raises(UserError, match=r"pip install 'mmalign\[deepspeed\]'"):
        zero.asked()


@pytest.mark.parametrize(("settings", "said"), [({"optimizer": "adafactor"}, "adafactor looks"), ({"mixed_precision": "fp16"}, "fp16")])
def test_settings_that_do_not_go_with_it_are_refused(settings, said):
    with pytest.raises(UserError, match=said):
        check(TrainConfig(**settings))
