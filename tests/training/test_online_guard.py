"""The guard in runs that draw their own pictures: going back, within a round or to an earlier one, is to what was drawn there."""

import pytest
import torch
from safetensors.torch import load_file

from mmalign.training import checkpoint, loop
from mmalign.training.guard import Guard
from mmalign.training.guard_findings import Finding
from mmalign.training.run import train
from tests.training.test_guard_runs import BROKEN, LORA, MENDED, events, killed, lines, with_rate_times
from tests.training.test_online import DPO, SEPPO
from tests.training.test_resume import AGAIN, assert_equal_runs

BOTH = pytest.mark.parametrize("settings", [SEPPO, DPO], ids=["seppo", "dpo"])


def assert_same_but_for_events(first, second):
    """Numbers and weights, those of what was drawn among them."""
    assert [line for line in lines(first) if "event" not in line] == [line for line in lines(second) if "event" not in line]
    left, right = load_file(first / LORA), load_file(second / LORA)
    assert all(torch.equal(left[name], right[name]) for name in left)


@BOTH
@pytest.mark.parametrize("logging_steps", [1, 100])
def test_a_rollback_to_the_start_is_the_run_with_the_lower_rate(configured, settings, logging_steps):
    """The second step, a round's last, leaves weights that are no numbers: they are not drawn with, however late numbers are logged."""
    broken = BROKEN | {"logging_steps": logging_steps, "checkpointing_steps": 100}
    gentle = train(configured("gentle", train=broken | {"learning_rate": 1e30 * 1e-33}, **settings))
    back = train(configured("back", guard=MENDED, train=broken, **settings))
    (event,) = events(back)
    assert (event["event"], event["step"], event["seen_at"]) == ("not finite", 0, 2)
    assert_same_but_for_events(gentle, back)


@BOTH
def test_a_rollback_into_the_middle_of_an_earlier_round(configured, monkeypatch, settings):
    """Rounds of four steps and checkpoints of three: what is seen at step 14 takes the run back to step 3, the last of the first round."""
    long = {"train": {"max_train_steps": 16, "checkpointing_steps": 3}} | settings | {"online": settings["online"] | {"refresh_steps": 4}}
    with monkeypatch.context() as patched:
        patched.setattr(loop, "train_step", with_rate_times(0.5, loop.train_step, at=3))
        halving = train(configured("halving", **long))
    monkeypatch.setattr(Guard, "see", seen_once(at=14))
    back = train(configured("back", guard={"action": "rollback", "window": 10, "rate_factor": 0.5}, **long))
    (event,) = events(back)
    assert (event["step"], event["seen_at"]) == (3, 14)
    assert_same_but_for_events(halving, back)
    members = [{path.name: load_file(path) for path in (folder / "pool").iterdir()} for folder in (halving, back)]
    assert members[0].keys() == members[1].keys()
    for name, tensors in members[0].items():
        assert all(torch.equal(tensor, members[1][name][key]) for key, tensor in tensors.items())


def seen_once(at):
    """A guard that sees something grave at one step, the first time that it comes by."""
    left = [Finding("spike", at, "seen", "", "mend it")]

    def see(self, reading):
        return [left.pop()] if left and reading.step == at else []

    return see


@BOTH
def test_killed_in_the_middle_of_a_round_around_a_rollback_it_ends_as_one_that_was_not(configured, monkeypatch, settings):
    """Saves are that of step 0, the rollback's, then those of steps 3 and 5, in rounds of two; it is killed as one begins."""
    changes = {"guard": MENDED, "train": BROKEN | {"checkpointing_steps": 3, "max_train_steps": 5}} | settings
    expected = train(configured("whole", **changes))
    assert len(events(expected)) == 1
    for moment in (2, 3, 4):
        with monkeypatch.context() as patched:
            patched.setattr(checkpoint, "save", killed(checkpoint.save, moment))
            with pytest.raises(KeyboardInterrupt):
                train(configured(f"killed{moment}", **changes))
        assert_equal_runs(expected, train(configured(f"killed{moment}", **(changes | {"train": changes["train"] | AGAIN}))))
