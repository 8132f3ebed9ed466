"""What the guard sees in the numbers of a run, and what it does not mistake for trouble."""

import json
import math

import numpy as np
import pytest
import torch

from mmalign.config import GuardConfig
from mmalign.training.guard import Guard
from mmalign.training.guard_statistics import jump, mean, paired_rise, rise
from mmalign.training.metrics import Monitor, Reading


def test_a_mean_and_its_error_by_hand():
    assert mean([1.0, 2.0, 3.0, 6.0]).value == 3.0
    assert mean([1.0, 2.0, 3.0, 6.0]).error == pytest.approx(math.sqrt((4 + 1 + 0 + 9) / 3 / 4))


def test_a_paired_rise_is_exact_where_errors_are_a_multiple_whatever_the_timesteps():
    ref = [0.01, 0.5, 1.0, 0.003]
    found = paired_rise([1.2 * value for value in ref], ref)
    assert found.value == pytest.approx(0.2)
    assert found.error == pytest.approx(0, abs=1e-12)


def test_the_paired_rise_is_known_far_better_than_the_error_itself():
    """Simulated: the standard error of the ratio is right (the spread over repetitions), and a tenth of that of unpaired draws."""
    draws = np.random.default_rng(0)
    paired, unpaired = [], []
    for _ in range(300):
        ref = draws.lognormal(-2, 1, 100)
        paired.append(paired_rise(list(ref * (1.1 + 0.1 * draws.standard_normal(100))), list(ref)))
        unpaired.append(rise(list(1.1 * draws.lognormal(-2, 1, 100)), list(draws.lognormal(-2, 1, 100))))
    for found in (paired, unpaired):
        spread = np.std([each.value for each in found])
        assert np.mean([each.error for each in found]) == pytest.approx(spread, rel=0.15)
    assert np.std([each.value for each in paired]) < 0.1 * np.std([each.value for each in unpaired])


def test_a_jump_is_four_of_five_far_above_what_is_usual_at_most():
    calm = [1.0, 2.0, 3.0] * 20  # from 3 it is 1 to the median, so that a factor of 2 puts the bound at 5
    assert jump([*calm, 6.0, 5.1, 1.0, 6.0, 6.0], calm, 2.0).value == 6.0
    assert jump([*calm, 6.0, 4.9, 1.0, 6.0, 6.0], calm, 2.0) is None
    assert jump([*calm, 99.0, 99.0, 5.1, 5.1, 5.1, 5.1, 5.1], calm, 2.0).usual == 2.0  # two bad batches hide nothing


def test_what_hardly_varied_has_jumped_when_it_is_twice_as_large():
    still = [0.5] * 40
    assert jump([*still, *[0.99] * 5], still, 2.0) is None
    assert jump([*still, *[1.01] * 5], still, 2.0).value == 1.01
    assert jump([*[-1.0] * 40, *[0.5] * 5], [-1.0] * 20, 2.0).usual == -1.0


def test_what_comes_back_to_where_the_run_began_is_no_jump():
    fallen = [0.01, 0.02] * 20
    assert jump([*fallen, *[0.69] * 5], [0.69] * 20, 2.0) is None
    assert jump([*fallen, *[0.69] * 5], [0.01] * 20, 2.0).usual == pytest.approx(0.015)


class Simulated:
    """A run of Diffusion-DPO on one pair a step: errors over two orders of magnitude by timestep, margins of a sigmoid, heavy tails.

    The size of everything is as in runs on the embedded bases: healthy ones raise the winners' error by up to 3 % of the reference's.
    """

    def __init__(self, seed, beta=5000.0):
        self.draws, self.beta = np.random.default_rng(seed), beta

    def step(self, step, winner=0.0, loser=0.0, noise=0.01):
        """Numbers of a step in which the errors are so much above the reference's, as shares, on average."""
        ref = self.draws.lognormal(-2.5, 1.0)
        change = ref * (np.array([winner, loser]) + noise * self.draws.standard_t(4, 2))
        logit = -0.5 * self.beta * (change[0] - change[1])
        numbers = {
            "loss": float(np.logaddexp(0, -logit)),
            "grad_norm": float(self.draws.lognormal(0, 0.7) * np.exp(-np.logaddexp(0, logit))),
            "errors/chosen": float(ref + change[0]),
            "ref_errors/chosen": float(ref),
            "rewards/margins": float(logit),
            "saturated": float(abs(logit) > 4),
            "implicit_acc": float(logit > 0),
        }
        return Reading(step, numbers, ("row 1",))


def first_seen(guard, readings):
    """Kind and step of the first finding, or None."""
    for reading in readings:
        if found := guard.see(reading):
            return found[0].kind, reading.step
    return None


@pytest.mark.parametrize("winner", [0.0, 0.03])
def test_noise_does_not_trip_it_in_ten_thousand_healthy_steps(winner):
    run = Simulated(1)
    assert first_seen(Guard(GuardConfig()), (run.step(step, winner, winner + 0.01) for step in range(1, 10_001))) is None


def test_noise_does_not_trip_it_without_a_reference():
    """Fine-tuning on one picture a step, whose error falls by a third: the error itself is all there is."""
    draws = np.random.default_rng(2)
    levels = 0.08 * np.exp(-0.4 * np.arange(10_000) / 10_000) * draws.lognormal(0, 1.0, 10_000)
    numbers = ({"loss": level, "errors/chosen": level, "grad_norm": draws.lognormal(0, 0.5)} for level in levels.tolist())
    guard = Guard(GuardConfig(), reference=False)
    assert first_seen(guard, (Reading(step, each, ()) for step, each in enumerate(numbers, 1))) is None


@pytest.mark.parametrize("seed", range(5))
def test_a_drift_to_a_quarter_above_the_reference_is_seen_within_thirty_steps(seed):
    """Both errors rise, the loser's more: the margin grows, and nearly all pairs are in the right order."""
    run, guard = Simulated(seed), Guard(GuardConfig(saturated=None))
    healthy = [run.step(step, 0.01, 0.02) for step in range(1, 301)]
    drifting = [run.step(step, 0.25, 0.40, noise=0.05) for step in range(301, 501)]
    kind, step = first_seen(guard, healthy + drifting)
    assert kind == "winner error"
    assert 300 < step <= 330


def test_a_slow_drift_is_seen_before_the_error_is_a_fifth_higher():
    run, guard = Simulated(3), Guard(GuardConfig(saturated=None))
    rising = (run.step(step, 0.001 * step, 0.0015 * step, noise=0.05) for step in range(1, 1001))
    kind, step = first_seen(guard, rising)
    assert kind == "winner error"
    assert 100 < step <= 200


def test_steps_without_a_preferred_picture_say_nothing_of_its_error():
    """Single pictures, of which every third is liked: its error is a fifth above the reference's. Of dislikes alone nothing is found."""
    mixed, none = Guard(GuardConfig()), Guard(GuardConfig())
    run = Simulated(6)
    for step in range(1, 121):
        reading = run.step(step, 0.2, 0.0, noise=0.0)
        liked = dict(reading.numbers) if step % 3 == 0 else reading.numbers | {"errors/chosen": 0.0, "ref_errors/chosen": 0.0}
        found = [finding for finding in mixed.see(Reading(step, liked | {"saturated": 0.0}, ())) if finding.kind == "winner error"]
        if found:
            break
        none.see(Reading(step, {"loss": 0.5, "errors/chosen": 0.0, "ref_errors/chosen": 0.0}, ()))
    assert found[0].seen.startswith("the winners' error was 20% (give or take 0%)")
    assert 20 <= step < 60
    assert not none.told


def test_what_it_says_of_a_drift():
    run, guard = Simulated(3), Guard(GuardConfig(saturated=None, window=40))
    found = [finding for step in range(1, 100) for finding in guard.see(run.step(step, 0.5, 0.9, noise=0.05))]
    said = str(found[0])
    for word in ("winners' error was", "% (give or take", "above the reference's at step 20", "while the margin went from 0 to", "sdpo"):
        assert word in said
    assert len(found) == 1


def test_saturation_is_grave_only_with_a_reference():
    for reference in (True, False):
        guard = Guard(GuardConfig(action="stop"), reference)
        readings = [Reading(step, {"loss": 0.1, "saturated": 1.0}, ()) for step in range(1, 31)]
        found = [finding for reading in readings for finding in guard.see(reading)]
        assert (found[0].kind, found[0].step, found[0].grave) == ("saturated", 20, reference)
        assert len(found) == (11 if reference else 1)


def test_a_spike_that_stays_is_seen_at_its_fourth_step_and_one_bad_batch_is_not():
    run, guard = Simulated(4), Guard(GuardConfig(winner_error=None, saturated=None))
    readings = [run.step(step) for step in range(1, 200)]
    readings[120].numbers["loss"] = readings[120].numbers["grad_norm"] = 1e6
    for step in range(150, 160):
        readings[step].numbers["loss"] = 300.0
    assert first_seen(guard, readings) == ("spike", 154)


def test_a_number_that_is_none_is_named_with_its_rows():
    found = Guard(GuardConfig()).see(Reading(7, {"loss": 1.0, "grad_norm": math.inf}, tuple(f"row {i}" for i in range(6))))
    assert str(found[0]).startswith("grad_norm was not a finite number at step 7, on the batch of row 0; row 1; row 2; row 3 and 2 more; ")


def test_steps_that_the_loss_scale_skipped_are_not_gradients():
    guard = Guard(GuardConfig())
    for step in range(1, 5):
        guard.see(Reading(step, {"loss": 1.0, "grad_norm": 0.0 if step == 2 else 1.0}, ()))
    assert len(guard.window.recent["grad_norm"]) == 3
    assert len(guard.window.recent["loss"]) == 4


def test_a_report_is_made_once_in_a_while():
    guard = Guard(GuardConfig(quiet_steps=50))
    told = [reading.step for reading in always_saturated(130) if guard.see(reading)]
    assert told == [20, 70, 120]


def always_saturated(steps):
    return [Reading(step, {"loss": 0.1, "saturated": 1.0}, ()) for step in range(1, steps + 1)]


def test_put_back_from_its_state_it_goes_on_as_if_nothing_had_been():
    """Through JSON, to be sure that the state is plain values."""
    run = Simulated(5)
    readings = [run.step(step, 0.0005 * step, 0.001 * step, noise=0.05) for step in range(1, 500)]
    whole, first = Guard(GuardConfig(quiet_steps=60)), Guard(GuardConfig(quiet_steps=60))
    expected = [str(finding) for reading in readings for finding in whole.see(reading)]
    found = [str(finding) for reading in readings[:260] for finding in first.see(reading)]
    second = Guard(GuardConfig(quiet_steps=60))
    second.load(json.loads(json.dumps(first.state())))
    found += [str(finding) for reading in readings[260:] for finding in second.see(reading)]
    assert len(expected) > 3
    assert found == expected


@pytest.mark.parametrize(
    ("steps", "now", "trusted", "good", "kept"),
    [
        ([0, 50, 100, 150], 160, 0, 50, {50, 100}),
        ([0, 50, 100, 150], 99, 0, 0, {0, 50}),
        ([0, 50, 100, 150], 160, 100, 100, {100, 150}),
        ([100], 160, 0, None, set()),
    ],
)
def test_a_good_checkpoint_is_older_than_the_window_or_was_gone_back_to(steps, now, trusted, good, kept):
    guard = Guard(GuardConfig(action="rollback"))
    guard.trusted = trusted
    assert guard.last_good(steps, now) == good
    assert guard.kept(steps, now) == kept
    assert Guard(GuardConfig()).kept(steps, now) == set()


def test_with_few_checkpoints_kept_there_is_always_a_good_one():
    """As a run of 600 steps prunes, with the newest one kept and a checkpoint every ten steps."""
    guard, there = Guard(GuardConfig(action="rollback")), [0]
    for now in range(10, 601, 10):
        there.append(now)
        there = [step for step in there if step == now or step in guard.kept(there, now)]
        good = guard.last_good(there, now)
        assert good is not None
        assert len(there) <= 3
        assert now - good <= 2 * 100 + 10


def test_the_monitor_reads_a_step_late_or_at_once_and_averages_what_it_was_given():
    monitor = Monitor()
    assert monitor.push(1, {"loss": torch.tensor(1.0)}, ("a",)) is None
    assert monitor.push(2, {"loss": torch.tensor(4.0)}, ("b",)) == Reading(1, {"loss": 1.0}, ("a",))
    assert monitor.flush() == Reading(2, {"loss": 4.0}, ("b",))
    assert monitor.flush() is None
    assert monitor.window() == {"loss": 2.5}
