"""Killed at any moment and resumed, a run ends with the very weights and log of one that was left alone."""

import multiprocessing
import os
import random
import resource
import signal
import time

import pytest
import torch
from safetensors.torch import load_file

from mmalign.errors import UserError
from mmalign.training import checkpoint
from mmalign.training.interrupt import Interrupted
from mmalign.training.run import train

fork = multiprocessing.get_context("fork")
STEPS = {"max_train_steps": 12, "checkpointing_steps": 1, "checkpoints_total_limit": 2, "ema_decay": 0.9, "lr_scheduler": "cosine"}
AGAIN = {"resume_from_checkpoint": "latest"}
LORA = "pytorch_lora_weights.safetensors"


def in_child(run):
    """Starts a run in a forked process, quiet."""

    def quietly():
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        torch.set_num_threads(1)
        run()

    child = fork.Process(target=quietly)
    child.start()
    return child


@pytest.fixture
def unbroken(configured):
    started = time.perf_counter()
    out = train(configured("unbroken", train=STEPS))
    return out, time.perf_counter() - started


def assert_equal_runs(first, second):
    assert (first / "metrics.jsonl").read_text() == (second / "metrics.jsonl").read_text()
    left, right = load_file(first / LORA), load_file(second / LORA)
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_killed_at_ten_random_points(configured, unbroken):
    expected, seconds = unbroken
    moments = random.Random(0)
    for attempt in range(10):
        out = f"killed{attempt}"
        child = in_child(lambda out=out: train(configured(out, train=STEPS)))
        time.sleep(moments.uniform(0.2, 1.0) * seconds)
        child.kill()
        child.join()
        assert_equal_runs(expected, train(configured(out, train=STEPS | AGAIN)))


def test_killed_again_and_again(configured, unbroken):
    expected, seconds = unbroken
    for attempt in range(4):
        child = in_child(lambda: train(configured("often", train=STEPS | AGAIN)))
        time.sleep((0.5 + 0.1 * attempt) * seconds)
        child.kill()
        child.join()
    assert_equal_runs(expected, train(configured("often", train=STEPS | AGAIN)))


def test_a_window_of_the_log_survives_a_resume(configured):
    settings = {"max_train_steps": 6, "checkpointing_steps": 2, "logging_steps": 3}
    expected = train(configured("whole", train=settings))
    with pytest.raises(Interrupted):
        interrupted_at(5, lambda: train(configured("part", train=settings)))
    assert_equal_runs(expected, train(configured("part", train=settings | AGAIN)))


def test_ctrl_c_saves_and_says_how_to_go_on(configured, unbroken):
    expected, _ = unbroken
    slow = STEPS | {"checkpointing_steps": 100}
    with pytest.raises(Interrupted, match="resume-from-checkpoint latest"):
        interrupted_at(4, lambda: train(configured("stopped", train=slow)))
    saved = checkpoint.checkpoints(expected.parent / "stopped")
    assert [path.name for path in saved] == ["checkpoint-4"]
    assert_equal_runs(expected, train(configured("stopped", train=slow | AGAIN)))


def interrupted_at(step, run):
    """Runs with a SIGINT that arrives in the middle of a step."""
    from mmalign.training import loop

    original, count = loop.train_step, 0

    def counted(*arguments):
        nonlocal count
        count += 1
        if count == step:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments)

    loop.train_step = counted
    try:
        return run()
    finally:
        loop.train_step = original


def test_a_finished_run_resumed_is_left_as_it_is(configured):
    out = train(configured())
    before, log = load_file(out / LORA), (out / "metrics.jsonl").read_text()
    train(configured(train=AGAIN))
    after = load_file(out / LORA)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert (out / "metrics.jsonl").read_text() == log


def test_a_longer_run_goes_on_from_the_end(configured):
    expected = train(configured("long", train={"max_train_steps": 6}))
    train(configured("short", train={"max_train_steps": 4}))
    assert_equal_runs(expected, train(configured("short", train={"max_train_steps": 6} | AGAIN)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 5}, "seed = 0"),
        ({"train": {"train_batch_size": 1}}, "rows_per_step = 2"),
        ({"adapter": {"name": "lora", "rank": 8}}, "adapter.rank = 4"),
        ({"method": {"beta": 100}}, "method.beta = 500"),
        ({"train": {"learning_rate": 1e-5}}, "train.learning_rate = 0.001"),
        ({"train": {"ema_decay": 0.9}}, "train.ema_decay = None"),
        ({"train": {"optimizer": "adafactor"}}, "train.optimizer = adamw"),
        ({"data": {"resolution": 8}}, "the encoded data"),
        ({"train": {"resume_from_checkpoint": "checkpoint-99"}}, "checkpoint-6"),
    ],
    ids=str,
)
def test_what_does_not_fit_the_checkpoint_is_refused(configured, changes, said):
    out = train(configured())
    before = (out / "config.yaml").read_text()
    changes = {**changes, "train": AGAIN | changes.get("train", {})}
    with pytest.raises(UserError, match=said):
        train(configured(**changes))
    assert (out / "config.yaml").read_text() == before


def test_a_replacement_broken_off_between_two_renames_is_put_back(configured):
    expected = train(configured("whole"))
    out = train(configured("broken", train={"max_train_steps": 4}))
    newest = checkpoint.checkpoints(out)[-1]
    newest.rename(out / f".{newest.name}.old.tmp")
    (out / ".checkpoint-4.new.tmp").mkdir()
    assert_equal_runs(expected, train(configured("broken", train=AGAIN)))
    assert not list(out.glob(".*"))


def test_a_folder_without_its_last_file_is_no_checkpoint(configured):
    out = train(configured())
    (out / "checkpoint-9").mkdir()
    assert checkpoint.find(out, "latest").name == "checkpoint-6"


def test_full_training_resumes_exactly(configured):
    whole = {"adapter": {"name": "full"}}
    expected = train(configured("whole", **whole))
    with pytest.raises(Interrupted):
        interrupted_at(3, lambda: train(configured("part", **whole)))
    out = train(configured("part", train=AGAIN, **whole))
    assert (expected / "metrics.jsonl").read_text() == (out / "metrics.jsonl").read_text()
    left, right = (load_file(folder / "unet" / "diffusion_pytorch_model.safetensors") for folder in (expected, out))
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_a_damaged_checkpoint_is_named(configured):
    out = train(configured())
    newest = checkpoint.checkpoints(out)[-1]
    (newest / "state.pt").write_bytes((newest / "state.pt").read_bytes()[:100])
    with pytest.raises(UserError, match=f"{newest.name}.*earlier"):
        train(configured(train=AGAIN))


def test_a_full_disk_is_one_sentence_and_earlier_checkpoints_stay(configured):
    """No file may grow past 20 KB from the third step on: a real refusal by the system, as by a full disk."""
    out = configured().output_dir

    def run():
        interrupted = False
        original = checkpoint.save

        def save(output_dir, progress, *rest):
            if progress.step == 4:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
            return original(output_dir, progress, *rest)

        checkpoint.save = save
        try:
            train(configured())
        except UserError as error:
            interrupted = "cannot write the checkpoint" in str(error) and "checkpoint-4" in str(error)
        os._exit(42 if interrupted else 1)

    child = in_child(run)
    child.join()
    assert child.exitcode == 42
    assert [path.name for path in checkpoint.checkpoints(out)] == ["checkpoint-2"]
    assert not list(out.glob(".checkpoint-*"))
    train(configured(train=AGAIN))
