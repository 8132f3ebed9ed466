"""Whole runs that train text encoders: what they begin with, leave, repeat and refuse."""

import json
import math

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from mmalign import pipelines
from mmalign.diffusion.aligned import Aligned
from mmalign.errors import UserError
from mmalign.training.fill import fill
from mmalign.training.interrupt import Interrupted
from mmalign.training.run import train
from tests import tiny
from tests.stock import drawn_without_mmalign
from tests.tiny_families import EVERY
from tests.training.conftest import PROMPTS
from tests.training.personal import disagreeing
from tests.training.test_processes import launched
from tests.training.test_resume import AGAIN, LORA, assert_equal_runs, interrupted_at

TOO = {"name": "lora", "rank": 4, "text_encoders": True}
SHORT = {"max_train_steps": 2, "checkpointing_steps": 100, "learning_rate": 1e-2}
CALL = {"num_inference_steps": 2, "guidance_scale": 2.0}


def metrics(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def encoders(tensors):
    return {name: tensor for name, tensor in tensors.items() if name.startswith("text_encoder")}


@pytest.fixture
def drawings(monkeypatch):
    """Prompts, seeds, settings and pictures of every drawing."""
    seen, sample = [], pipelines.DiffusionFamily.sample

    def watched(self, prompts, seeds, **call):
        seen.append((prompts, seeds, call, sample(self, prompts, seeds, **call)))
        return seen[-1][-1]

    monkeypatch.setattr(pipelines.DiffusionFamily, "sample", watched)
    return seen


@pytest.mark.parametrize("name", ["sd", "sdxl", "sd3", "flux"])
def test_it_starts_from_log_two_and_moves_every_text_encoder(configured, name):
    pipe = EVERY[name]()
    settings = SHORT | {"gradient_checkpointing": True, "mixed_precision": "bf16"}
    out = train(configured(adapter=TOO, train=settings, data={"caption_dropout": 0.3, "resolution": 16}), pipe=pipe)
    log, saved = metrics(out), load_file(out / LORA)
    assert log[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert log[1]["loss"] != log[0]["loss"]
    ups = {key: tensor for key, tensor in encoders(saved).items() if "lora_B" in key}
    assert {key.partition(".")[0] for key in ups} == set(pipelines.load(pipe).encoders)
    assert all(tensor.abs().max() > 1e-3 for tensor in ups.values())
    assert all(".text_model.encoder.layers." in key for key in encoders(saved))
    assert not any("lora" in key for key, _ in pipe.text_encoder.named_modules())


@pytest.mark.parametrize(("name", "adapter"), [("sdxl", {"alpha": 8.0}), ("sd", {"dora": True}), ("sd3", {"rslora": True})], ids=str)
def test_a_new_pipeline_draws_what_the_run_drew(configured, name, adapter, tmp_path, drawings):
    """The pictures of validation are those of diffusers with the folder loaded."""
    tiny.PIPELINES[name]().save_pretrained(tmp_path / "base")
    shown = {"prompts": PROMPTS, "steps": 2, "seed": 5, **CALL}
    config = configured(adapter=TOO | adapter, train=SHORT, validation=shown, model={"pretrained": str(tmp_path / "base")})
    out = train(config)
    drawn = drawings[-1][-1]
    family = pipelines.load(str(tmp_path / "base"))
    base = family.sample(PROMPTS, [5, 6], **CALL)
    family.pipe.load_lora_weights(out)
    torch.testing.assert_close(family.sample(PROMPTS, [5, 6], **CALL), drawn, atol=1e-5, rtol=0)
    assert not torch.allclose(base, drawn, atol=1e-3)
    with safe_open(out / LORA, "pt") as file:
        said = json.loads(file.metadata()["lora_adapter_metadata"])
    assert (said["text_encoder.r"], said["text_encoder.lora_alpha"]) == (4, adapter.get("alpha", 4))
    both = Aligned(pipelines.load(str(tmp_path / "base")), out, **CALL)
    torch.testing.assert_close(both.aligned(PROMPTS, [5, 6]), drawn, atol=1e-5, rtol=0)
    torch.testing.assert_close(both.base(PROMPTS, [5, 6]), base, atol=1e-6, rtol=0)


@pytest.mark.slow
def test_a_process_without_mmalign_loads_the_folder_and_draws_the_same(configured, tmp_path):
    tiny.sdxl().save_pretrained(tmp_path / "base")
    out = train(configured(adapter=TOO, train=SHORT, model={"pretrained": str(tmp_path / "base")}))
    family = pipelines.load(str(tmp_path / "base"))
    family.pipe.load_lora_weights(out)
    wanted = family.sample(["a red circle"], [3], **CALL)[0]
    torch.testing.assert_close(drawn_without_mmalign(tmp_path / "base", out, tmp_path), wanted, atol=1e-5, rtol=0)


def test_stopped_and_resumed_it_ends_as_if_left_alone(configured):
    settings = {"max_train_steps": 6, "checkpointing_steps": 100, "ema_decay": 0.9, "lr_scheduler": "cosine"}
    adapter = TOO | {"text_encoder_lr": 1e-4}
    expected = train(configured("whole", adapter=adapter, train=settings))
    with pytest.raises(Interrupted):
        interrupted_at(4, lambda: train(configured("part", adapter=adapter, train=settings)))
    assert_equal_runs(expected, train(configured("part", adapter=adapter, train=settings | AGAIN)))
    assert metrics(expected)[0]["learning_rate/text_encoders"] == pytest.approx(1e-4, rel=0.1)


def test_a_round_is_drawn_with_its_members_text_encoders_and_a_resume_repeats_it(configured, base, drawings):
    online = {"keep": "opponent", "reference": "member", "member": "uniform", "refresh_steps": 2, "batch_size": 4, **CALL}
    settings = {"adapter": TOO, "method": {"name": "seppo", "beta": 500}, "online": online, "seed": 8}
    steps = {"max_train_steps": 5, "checkpointing_steps": 2, "learning_rate": 1e-2}
    expected = train(configured("whole", train=steps, **settings))
    member = load_file(expected / "pool" / "member-000002.safetensors")
    assert any(name.startswith("encoders.text_encoder.") for name in member)
    (prompts, seeds, call, first), (again, others, _, second), *_ = drawings  # of this seed the second round's is the state after 2 steps
    family = pipelines.load(str(base))
    torch.testing.assert_close(family.sample(prompts, seeds, **call), first, atol=1e-6, rtol=0)
    before = family.sample(again, others, **call)
    family.pipe.load_lora_weights(expected / "checkpoint-2")
    torch.testing.assert_close(family.sample(again, others, **call), second, atol=1e-5, rtol=0)
    assert not torch.allclose(before, second, atol=1e-3)
    with pytest.raises(Interrupted):
        interrupted_at(3, lambda: train(configured("part", train=steps | {"checkpointing_steps": 100}, **settings)))
    assert_equal_runs(expected, train(configured("part", train=steps | AGAIN, **settings)))


def errors(cache):
    """What is kept of the reference, by file."""
    return {path.name: tensor for path in (cache / "errors").glob("*.safetensors") for tensor in load_file(path).values()}


def test_errors_of_the_reference_that_were_kept_are_those_of_frozen_text_encoders(configured, tmp_path):
    shared = {"data": {"cache_dir": str(tmp_path / "cache"), "reference_draws": 1}, "train": SHORT | {"train_batch_size": 1}}
    train(configured("frozen", **shared))
    kept = errors(tmp_path / "cache")
    out = train(configured("trained", adapter=TOO, **shared))
    now = errors(tmp_path / "cache")
    assert [tensor.shape for tensor in kept.values()] == [(2, 2)]
    assert now.keys() == kept.keys()  # the same draws of the same reference: nothing was computed
    assert metrics(out)[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)


def test_tokens_are_kept_apart_and_removed_where_nobody_reads_them(configured, tmp_path):
    data = {"cache_dir": str(tmp_path / "cache")}
    told = fill(configured(adapter=TOO, data=data), prune=True)
    counts = {line.rsplit(maxsplit=3)[0]: line.split()[-3] for line in told if line.endswith("B")}
    assert (counts["prompts"], counts["tokens"]) == ("3", "3")  # two prompts and the empty one
    removed, *rest = fill(configured(data=data), prune=True)
    assert removed.startswith("removed 3 tokens")
    assert not any(line.startswith("tokens") for line in rest)


def test_it_goes_with_people(configured):
    settings = SHORT | {"max_train_steps": 3, "train_batch_size": 3}
    config = configured(adapter=TOO, users={"tokens": 2, "width": 4, "dim": 8, "dropout": 0.2}, train=settings)
    out = train(config, pipe=tiny.sdxl(), examples=disagreeing(3))
    assert metrics(out)[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert encoders(load_file(out / LORA))
    assert (out / "user_conditioner.safetensors").is_file()


def test_accumulating_two_rows_is_a_batch_of_two(configured):
    mild, settings = {"beta": 50}, {"max_train_steps": 3, "learning_rate": 1e-3}
    one = train(configured("one", adapter=TOO, method=mild, train=settings | {"train_batch_size": 1, "gradient_accumulation_steps": 2}))
    two = train(configured("two", adapter=TOO, method=mild, train=settings | {"train_batch_size": 2}))
    for left, right in zip(metrics(one), metrics(two), strict=True):
        assert left == pytest.approx(right, rel=5e-3, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("shard", [False, True])
def test_two_processes_are_one_with_twice_the_batch(configured, tmp_path, shard):
    tiny.sdxl().save_pretrained(tmp_path / "base")
    shared = {"adapter": TOO, "method": {"beta": 50}, "model": {"pretrained": str(tmp_path / "base")}}
    settings = {"max_train_steps": 3, "gradient_accumulation_steps": 2, "gradient_checkpointing": shard}
    one = train(configured("one", train=settings | {"train_batch_size": 2}, **shared))
    more = {"data": {"cache_dir": str(tmp_path / "cache")}, "speed": {"shard": shard}, "train": settings | {"train_batch_size": 1}}
    two = launched(configured("two", **more, **shared), tmp_path / "two.yaml")
    for left, right in zip(metrics(one), metrics(two), strict=True):
        assert left == pytest.approx(right, rel=5e-3, abs=1e-4)
    first, second = (load_file(out / LORA) for out in (one, two))
    assert max((first[name] - second[name]).abs().max() for name in first) < 1e-4
    assert min(tensor.abs().max() for name, tensor in encoders(first).items() if "lora_B" in name) > 1e-4


def test_a_dry_run_and_the_card_say_what_is_trained(configured, capsys):
    adapter = TOO | {"text_encoder_lr": 5e-6}
    train(configured(adapter=adapter, train=SHORT), pipe=tiny.sdxl(), dry_run=True)
    said = capsys.readouterr().out
    assert "effective rate 0.01, of the text encoders 5e-06" in said
    # of both encoders: 4 projections of 32 x 32 in 1 layer of the first and 2 of the second, with rank 4
    numbers = (1 + 2) * 4 * 2 * 4 * tiny.WIDTH
    pipe = tiny.sdxl()
    total = sum(p.numel() for part in (pipe.unet, pipe.text_encoder, pipe.text_encoder_2) for p in part.parameters())
    line = next(line for line in said.splitlines() if line.startswith("trained"))
    trained, of = (int(word.replace(",", "")) for word in (line.split()[1], line.split()[3]))
    assert of - trained == total
    train(configured("plain", adapter={"name": "lora", "rank": 4}, train=SHORT), pipe=tiny.sdxl(), dry_run=True)
    plain = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("trained"))
    assert trained - int(plain.split()[1].replace(",", "")) == numbers
    assert "LoRA of rank 4 in unet, text_encoder, text_encoder_2" in line


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"adapter": {"name": "lora", "text_encoder_lr": 1e-5}}, "text_encoder_lr has no effect without text_encoders"),
        ({"adapter": {"name": "lora", "text_encoder_targets": ["fc1"]}}, "text_encoder_targets has no effect without text_encoders"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_told(configured, changes, said):
    with pytest.raises(UserError, match=said):
        configured(**changes)


def test_a_family_that_cannot_is_told_before_anything_is_encoded(configured):
    with pytest.raises(UserError, match="adapter.text_encoders trains CLIP's, and sana has none"):
        train(configured(adapter=TOO), pipe=EVERY["sana"]())
