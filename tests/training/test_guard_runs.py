"""Runs that go wrong, at absurd rates, and what the guard makes of them."""

import json

import pytest
import torch
from safetensors.torch import load_file

from mmalign import pipelines
from mmalign.errors import UserError
from mmalign.training import checkpoint, loop
from mmalign.training.guard import Guard
from mmalign.training.guard_findings import Finding
from mmalign.training.interrupt import Interrupted
from mmalign.training.metrics import Monitor
from mmalign.training.run import train
from tests.training.test_resume import assert_equal_runs, interrupted_at

LORA = "pytorch_lora_weights.safetensors"
WATCH = {"window": 10}
BROKEN = {"learning_rate": 1e30, "max_train_steps": 4, "max_grad_norm": None}
MENDED = {"action": "rollback", "window": 10, "rate_factor": 1e-33}  # 1e30 becomes 1e-3
AWAY = {"learning_rate": 0.03, "max_train_steps": 20, "checkpointing_steps": 5}  # with all weights trained


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def events(folder):
    return [line for line in lines(folder) if "event" in line]


def test_errors_of_winners_and_losers_are_logged_apart_from_the_numbers_that_there_are(configured):
    """Half of beta times the fall of an error against the reference is its reward, by the method's definition."""
    for line in lines(train(configured(method={"beta": 500}))):
        for side in ("chosen", "rejected"):
            assert line[f"rewards/{side}"] == pytest.approx(-250 * (line[f"errors/{side}"] - line[f"ref_errors/{side}"]), abs=1e-4)
            assert line[f"logps/{side}"] == pytest.approx(-0.5 * line[f"errors/{side}"])


def test_without_a_reference_the_errors_are_the_policys_own(configured):
    line = lines(train(configured(method={"name": "mapo"}, train={"max_train_steps": 1})))[0]
    assert line["errors/chosen"] == pytest.approx(line["sft_loss"])
    assert not [name for name in line if name.startswith("ref_errors")]


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("winner error", {"adapter": {"name": "full"}, "train": AWAY}),
        ("winner error", {"adapter": {"name": "full"}, "method": {"name": "diffusion_kto", "beta": 500}, "train": AWAY}),
        ("saturated", {"method": {"beta": 1e7}, "train": {"max_train_steps": 14, "learning_rate": 0.01}}),
        ("spike", {"adapter": {"name": "full"}, "method": {"beta": 5000}, "train": {"max_train_steps": 26, "learning_rate": 1e-6}}),
    ],
)
def test_each_kind_of_trouble_is_told_and_the_run_goes_on(configured, capsys, monkeypatch, kind, changes):
    if kind == "spike":
        monkeypatch.setattr(loop, "train_step", with_rate_times(1e5, loop.train_step, at=18))
    only = {"winner_error": None, "saturated": None, "spike": None} | {kind.replace(" ", "_"): 0.5}
    out = train(configured(guard=WATCH | only, **changes))
    (event,) = events(out)
    assert (event["event"], event["action"]) == (kind, "report")
    assert event["said"].count("\n") == 0
    assert capsys.readouterr().err.count(f"guard: {event['said']}\n") == 1
    assert f"| The guard saw | {kind} at step {event['step']} (report) |" in (out / "README.md").read_text()
    assert lines(out)[-1]["step"] == changes["train"]["max_train_steps"]


def with_rate_times(factor, train_step, at):
    """Steps with a rate so many times as large from one of them on."""

    def step(run, batches):
        if run.step == at:
            run.multiply_rate(factor)
        return train_step(run, batches)

    return step


def test_a_healthy_run_is_left_alone(configured):
    out = train(configured(guard={"action": "stop", "window": 10}, train={"max_train_steps": 16}))
    assert not events(out)
    assert "| The guard saw | nothing |" in (out / "README.md").read_text()


def test_a_stop_leaves_a_checkpoint_that_loads_and_says_what_to_do(configured):
    changes = {"guard": WATCH | {"action": "stop"}, "adapter": {"name": "full"}}
    with pytest.raises(UserError, match=r"guard stopped the run: the winners' error was \d+%.*learning_rate.*holds this step") as stopped:
        train(configured(train=AWAY, **changes))
    folder = configured().output_dir
    newest = checkpoint.checkpoints(folder)[-1]
    step = checkpoint.step_of(newest)
    assert f"{newest.name} holds this step" in str(stopped.value)
    (event,) = events(folder)
    assert (event["action"], event["event"]) == ("stop", "winner error")
    unet = pipelines.open_pipeline(str(configured().model.pretrained)).unet
    assert all(weight.isfinite().all() for weight in type(unet).from_pretrained(newest, subfolder="unet").parameters())
    left = lines(folder)[-1]
    assert (left["step"], left["unfinished"]) == (step, "1 of 1 steps")
    assert left["errors/chosen"] > left["ref_errors/chosen"]
    train(configured(train=AWAY | {"max_train_steps": step + 2, "resume_from_checkpoint": "latest"}, **changes))
    assert lines(folder)[-1]["step"] == step + 2
    assert events(folder) == [event]


def test_numbers_that_are_none_stop_a_run_that_does_not_go_back_and_no_checkpoint_holds_them(configured):
    for action in ("report", "stop"):
        with pytest.raises(UserError, match=r"finite number at step 2, on the batch of .*pairs.parquet, row \d+.*no checkpoint holds"):
            train(configured(action, guard=action, train=BROKEN))
        folder = configured(action).output_dir
        assert not checkpoint.checkpoints(folder)
        kinds = [(line["step"], *(line.keys() & {"event", "unfinished"})) for line in lines(folder)]
        assert kinds == [(1,), (2, "event"), (2, "unfinished")]


@pytest.mark.parametrize("how", ["guard", "signal", "error"])
def test_a_run_that_ends_within_a_window_leaves_the_numbers_of_what_it_took(configured, monkeypatch, how):
    """Windows of three steps, ended after the fifth: the means of steps 4 and 5, as a run that logs every step has them."""
    each = [line for line in lines(train(configured("each", train={"max_train_steps": 5, "logging_steps": 1}))) if line["step"] > 3]
    wanted = {"guard": UserError, "signal": Interrupted, "error": ValueError}[how]
    settings = {"train": {"max_train_steps": 9, "logging_steps": 3}, "guard": {"action": "stop", "window": 10}}
    with monkeypatch.context() as patched, pytest.raises(wanted):
        ENDS[how](patched, lambda: train(configured("ended", **settings)))
    *_, left = [line for line in lines(configured("ended").output_dir) if "event" not in line]
    assert (left["step"], left["unfinished"]) == (5, "2 of 3 steps")
    for name in ("loss", "grad_norm", "errors/chosen"):
        assert left[name] == pytest.approx((each[0][name] + each[1][name]) / 2)
    if how == "signal":  # resumed, the window is finished, and nothing is there twice
        again = settings | {"train": settings["train"] | {"resume_from_checkpoint": "latest"}}
        assert_equal_runs(train(configured("whole", **settings)), train(configured("ended", **again)))


def ended_by_the_guard(patched, run):
    """It sees something grave in the numbers of step 5."""

    def see(self, reading):
        return [Finding("spike", 5, "seen", "", "mend it")] if reading.step == 5 else []

    patched.setattr(Guard, "see", see)
    patched.setattr(Monitor, "push", read_at_once(Monitor.push))
    run()


def read_at_once(push):
    """A push that hands on the numbers of its own step, as where a window is full."""

    def push_and_read(self, *arguments):
        push(self, *arguments)
        return self.flush()

    return push_and_read


def ended_by_an_error(patched, run):
    """The sixth step cannot be taken."""
    patched.setattr(loop, "train_step", breaking(loop.train_step, at=5))
    run()


def breaking(train_step, at):
    """Steps of which one raises an error."""

    def step(run, batches):
        if run.step == at:
            raise ValueError("broken")
        return train_step(run, batches)

    return step


ENDS = {"guard": ended_by_the_guard, "signal": lambda _, run: interrupted_at(5, run), "error": ended_by_an_error}


def test_a_rollback_to_the_start_is_the_run_with_the_lower_rate(configured):
    """The same rows and draws again, accumulated and averaged: only the rate differs, and the log says so."""
    more = {"ema_decay": 0.9, "gradient_accumulation_steps": 2}
    gentle = train(configured("gentle", train=BROKEN | more | {"learning_rate": 1e30 * 1e-33}))
    back = train(configured("back", guard=MENDED, train=BROKEN | more))
    (event,) = events(back)
    assert (event["event"], event["step"], event["seen_at"], event["action"]) == ("not finite", 0, 2, "rollback")
    assert [line for line in lines(back) if line != event] == lines(gentle)
    first, second = load_file(gentle / LORA), load_file(back / LORA)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert "(rollback); the learning rate was multiplied by 1e-33 in all |" in (back / "README.md").read_text()


def test_a_rollback_keeps_what_was_good_and_the_course_of_the_schedule(configured):
    """A warm-up that leads too high: from a step that the window of 10 leaves good, it goes on at a hundredth."""
    warm = AWAY | {"lr_scheduler": "constant_with_warmup", "lr_warmup_steps": 30, "learning_rate": 0.3, "checkpoints_total_limit": 1}
    out = train(configured(guard={"action": "rollback", "window": 10, "rate_factor": 0.01}, adapter={"name": "full"}, train=warm))
    (event,) = events(out)
    good = event["step"]
    assert 0 < good <= event["seen_at"] - 10
    kept = [line for line in lines(out) if line != event]
    assert [line["step"] for line in kept] == list(range(1, 21))
    rates = [0.01 * step * (0.01 if step > good else 1) for step in range(1, 21)]
    assert [line["learning_rate"] for line in kept] == pytest.approx(rates)


def test_after_so_many_rollbacks_it_stops(configured):
    guard = {"action": "rollback", "window": 10, "rate_factor": 0.5, "max_rollbacks": 2}
    with pytest.raises(UserError, match="stopped the run after 2 rollbacks.*no checkpoint holds this step, checkpoint-0 is from before"):
        train(configured(guard=guard, train=BROKEN))
    found = events(configured().output_dir)
    assert [event["action"] for event in found] == ["rollback", "rollback", "stop"]
    assert checkpoint.steps(configured().output_dir) == [0]


def test_killed_anywhere_around_a_rollback_and_resumed_it_is_the_unbroken_run(configured, monkeypatch):
    """Saves are that of step 0, the rollback's, then those of 2, 4 ...; it is killed as one begins, with all before it done."""
    changes = {"guard": MENDED, "train": BROKEN | {"checkpointing_steps": 2, "ema_decay": 0.9, "max_train_steps": 4}}
    expected = train(configured("whole", **changes))
    assert len(events(expected)) == 1
    for moment in (2, 3, 4):
        with monkeypatch.context() as patched:
            patched.setattr(checkpoint, "save", killed(checkpoint.save, moment))
            with pytest.raises(KeyboardInterrupt):
                train(configured(f"killed{moment}", **changes))
        again = changes | {"train": changes["train"] | {"resume_from_checkpoint": "latest"}}
        assert_equal_runs(expected, train(configured(f"killed{moment}", **again)))


def killed(save, moment):
    """A save that is killed the so-manieth time."""
    count = iter(range(1, 100))

    def save_or_die(*arguments):
        if next(count) == moment:
            raise KeyboardInterrupt
        return save(*arguments)

    return save_or_die


def test_a_scorer_is_guarded_too(scorer_run):
    out = train(scorer_run(guard=MENDED, train=BROKEN | {"adam_epsilon": 1.0}))
    assert [event["action"] for event in events(out)] == ["rollback"]
    assert lines(out)[-1]["step"] == 4
