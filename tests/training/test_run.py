"""Whole runs on a tiny model: what they learn, write, repeat and refuse."""

import json
import math
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mmalign import pipelines
from mmalign.config import load_config
from mmalign.data.schema import Example
from mmalign.diffusion.family import DiffusionFamily
from mmalign.errors import UserError
from mmalign.training.run import train

LORA = "pytorch_lora_weights.safetensors"


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def weights(folder, name=LORA):
    return load_file(folder / name)


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_it_starts_from_log_two_with_ties(configured):
    log = metrics(train(configured()))
    assert log[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert log[0]["implicit_acc"] == 0.5
    assert log[0]["rewards/accuracies"] == 0.0
    assert log[-1]["rewards/margins"] != 0.0


def test_the_folder_holds_what_was_promised(configured):
    out = train(configured(validation={"prompts": ["a cat"], "steps": 3, "num_inference_steps": 2}, train={"checkpoints_total_limit": 2}))
    assert sorted(p.name for p in out.iterdir()) == sorted(
        [LORA, "README.md", "config.yaml", "metrics.jsonl", "checkpoint-4", "checkpoint-6", "samples"]
    )
    assert sorted(p.name for p in (out / "samples").iterdir()) == ["step-000003.png", "step-000006.png"]
    assert len(metrics(out)) == 6
    card = (out / "README.md").read_text()
    for said in (
        "diffusion_dpo",
        "Effective beta | 500",
        "10 rows",
        "1.2 epochs",
        "samples/step-000006.png",
        "load_lora_weights",
        "base_model",
        "Drawn in 2 steps with guidance 7.5.",
    ):
        assert said in card
    assert load_config(out / "config.yaml").validation.guidance_scale == 7.5  # the pipeline's own, which the run was not told


def test_the_same_seed_gives_the_same_log_and_weights(configured):
    first, second, other = (train(configured(out, seed=seed)) for out, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert (first / "metrics.jsonl").read_bytes() == (second / "metrics.jsonl").read_bytes()
    assert same(weights(first), weights(second))
    assert not same(weights(first), weights(other))


def test_accumulating_two_rows_is_a_batch_of_two(configured):
    settings = {"max_train_steps": 3, "learning_rate": 1e-3}
    mild = {"beta": 50}  # beta times the rounding of an error stays far below the tolerance
    one = train(configured("one", method=mild, train=settings | {"train_batch_size": 1, "gradient_accumulation_steps": 2}))
    two = train(configured("two", method=mild, train=settings | {"train_batch_size": 2, "gradient_accumulation_steps": 1}))
    for left, right in zip(metrics(one), metrics(two), strict=True):
        assert left == pytest.approx(right, rel=5e-3, abs=1e-4)
    first, second = weights(one), weights(two)
    for name in first:
        torch.testing.assert_close(first[name], second[name], atol=2e-5, rtol=1e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {"adapter": {"name": "full"}},
        {"adapter": {"name": "lora", "rank": 4, "dora": True}},
        {"train": {"ema_decay": 0.9}},
        {"train": {"mixed_precision": "bf16"}},
        {"train": {"gradient_checkpointing": True}},
        {"train": {"optimizer": "adafactor"}},
        {"train": {"dataloader_num_workers": 1}},
        {"data": {"random_flip": True, "caption_dropout": 0.3, "center_crop": False, "resolution": 8}},
        {"model": {"dtype": "bfloat16"}},
        {"model": {"dtype": "bfloat16"}, "adapter": {"name": "full"}, "train": {"mixed_precision": "bf16"}},
    ],
    ids=str,
)
def test_every_setting_trains_from_log_two(configured, changes):
    log = metrics(train(configured(**changes | {"train": {"max_train_steps": 2} | changes.get("train", {})})))
    assert len(log) == 2
    # DoRA divides by a norm: equal to the base up to rounding only
    exact = 1e-6 if "dora" not in changes.get("adapter", {}) else 0.01
    assert log[0]["loss"] == pytest.approx(math.log(2), abs=exact)
    assert log[1]["loss"] != log[0]["loss"]


def test_full_training_writes_a_model_that_diffusers_reads(configured):
    config = configured(adapter={"name": "full"})
    out = train(config)
    pipe = pipelines.open_pipeline(config.model.pretrained)
    tuned = type(pipe.unet).from_pretrained(out, subfolder="unet")
    assert any(not torch.equal(a, b) for a, b in zip(tuned.parameters(), pipe.unet.parameters(), strict=True))


def test_a_second_run_over_the_same_data_encodes_nothing(configured, tmp_path, monkeypatch):
    first = train(configured("a", data={"cache_dir": str(tmp_path / "cache")}))

    def refuse(*_):
        raise AssertionError("encoded again")

    monkeypatch.setattr(DiffusionFamily, "encode_images", refuse)
    monkeypatch.setattr("mmalign.pipelines.sd.SD.encode_prompts", refuse)
    second = train(configured("b", data={"cache_dir": str(tmp_path / "cache")}))
    assert same(weights(first), weights(second))


def test_caching_on_disk_changes_nothing(configured, tmp_path):
    memory = train(configured("a"))
    disk = train(configured("b", data={"cache_dir": str(tmp_path / "cache")}))
    assert same(weights(memory), weights(disk))


def test_a_dry_run_says_all_and_writes_nothing(configured, capsys, tmp_path):
    config = configured("never")
    train(config, dry_run=True)
    said = capsys.readouterr().out
    for word in (
        "effective beta 500",
        "effective rate 0.001",
        "2 rows x 1 accumulated x 1 processes",
        "first step",
        "loss 0.6931",
        "memory",
        LORA,
    ):
        assert word in said
    assert not (tmp_path / "never").exists()


def test_a_dry_run_encodes_its_one_batch_alone(configured, tmp_path, monkeypatch):
    encoded = []
    original = DiffusionFamily.encode_images
    monkeypatch.setattr(DiffusionFamily, "encode_images", lambda self, pixels: encoded.append(len(pixels)) or original(self, pixels))
    train(configured(data={"cache_dir": str(tmp_path / "cache")}), dry_run=True)
    assert sum(encoded) == 4
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": {"dtype": "bfloat16"}, "adapter": {"name": "full"}}, "mixed_precision bf16"),
        ({"model": {"dtype": "bfloat16"}, "adapter": {"name": "lora", "dora": True}}, "model.dtype float32"),
        ({"train": {"mixed_precision": "fp16"}}, "needs a GPU"),
        ({"adapter": {"name": "lora", "targets": ["nothing"]}}, "nothing"),
    ],
    ids=str,
)
def test_what_cannot_train_is_refused(configured, changes, said):
    with pytest.raises(UserError, match=said):
        train(configured(**changes))


@pytest.mark.parametrize(("preference", "said"), [(0.5, "row 3 is a tie.*MaPO.*drop or half"), (0.8, r"row 3 is a soft label \(0.8\)")])
def test_labels_that_the_method_does_not_read_are_refused(configured, preference, said):
    examples = [Example("a cat", (Image.new("RGB", (16, 16)),) * 2, origin=f"row {i}") for i in range(4)]
    with pytest.raises(UserError, match=said):
        train(configured(method={"name": "mapo", "beta": 0.1}), examples=[*examples[:3], replace(examples[3], preference=preference)])


def test_skipped_steps_of_fp16_move_nothing_and_end_the_run_when_they_do_not_stop(configured, monkeypatch):
    from accelerate.optimizer import AcceleratedOptimizer

    monkeypatch.setattr(AcceleratedOptimizer, "step_was_skipped", property(lambda self: True))
    with pytest.raises(UserError, match="30 steps in a row"):
        train(configured(train={"max_train_steps": 40, "checkpointing_steps": 100, "lr_scheduler": "cosine"}))


def test_a_rate_that_breaks_the_model_is_stopped_with_step_and_rows(configured):
    with pytest.raises(UserError, match=r"not a finite number at step \d+.*pairs.parquet, row \d+.*learning_rate"):
        train(configured(train={"learning_rate": 1e30, "max_train_steps": 20, "max_grad_norm": None}))


def test_a_used_folder_is_refused_unless_resumed(configured):
    train(configured())
    with pytest.raises(UserError, match="resume-from-checkpoint latest"):
        train(configured())


def test_the_pipeline_in_memory_is_given_back(configured, base):
    pipe = pipelines.open_pipeline(base)
    family = pipelines.load(pipe)
    before = family.sample(["a cat"], [0], num_inference_steps=2)
    train(configured(train={"mixed_precision": "bf16"}), pipe=pipe)
    assert torch.equal(family.sample(["a cat"], [0], num_inference_steps=2), before)
    assert not any("lora" in name for name, _ in pipe.unet.named_parameters())
    assert all(parameter.requires_grad for parameter in pipe.unet.parameters())


def test_an_adapter_that_was_off_stays_off(configured, base):
    from peft import LoraConfig

    pipe = pipelines.open_pipeline(base)
    pipe.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q"], init_lora_weights=False), adapter_name="first")
    pipe.unet.disable_adapters()
    family = pipelines.load(pipe)
    before = family.sample(["a cat"], [0], num_inference_steps=2)
    out = train(configured(), pipe=pipe)
    assert metrics(out)[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert torch.equal(family.sample(["a cat"], [0], num_inference_steps=2), before)
