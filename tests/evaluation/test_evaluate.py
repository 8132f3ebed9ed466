"""Samplers with a known answer: the evaluation must find it."""

import numpy as np
import pytest
import torch

from mmalign import rewards
from mmalign.errors import UserError
from mmalign.evaluation.diversity import pairwise, thumbnails
from mmalign.evaluation.evaluate import evaluate
from mmalign.evaluation.plan import Options
from mmalign.evaluation.sampling import Request, Source, seed_of
from mmalign.evaluation.selection import evenly_spaced, largest_wins

SMALL = Options(batch_size=7, pictures=5, extremes=2, diversity_prompts=4, diversity_draws=3, resamples=500)


def run(world, base, aligned, **changes):
    arguments = {"aligned_to": "brightness", "options": SMALL, "progress": False, **changes}
    return evaluate(base, aligned, world.prompts, world.rewards, **arguments)


def row(evaluation, name):
    return next(row for row in evaluation.comparisons if row.name == name)


def test_equal_samplers_tie_exactly(world):
    found = run(world, world.noise, world.noise, seeds_per_prompt=2, thresholds={"steps": 5})
    for comparison in found.comparisons:
        assert (comparison.result.win_rate, comparison.result.low, comparison.result.high) == (0.5, 0.5, 0.5)
    assert found.diversity.difference.value == found.shares[0].difference.value == 0
    assert not found.group("win")
    assert not found.group("loss")


def test_a_lifted_blue_channel_wins_on_brightness_and_ties_on_redness(world):
    found = run(world, world.noise, world.brighter, thresholds={"steps": 5})
    assert (row(found, "brightness").result.win_rate, row(found, "brightness").result.high) == (1.0, 1.0)
    assert row(found, "redness").result.ties == 40
    assert row(found, "brightness").result.difference.value == pytest.approx(0.25 / 3, abs=0.005)  # blue: mean 0.5 -> 0.75
    assert next(comparison.name for comparison in found.comparisons) == "brightness"
    share = found.shares[0]
    assert share.is_maximum
    assert share.n == 40
    assert share.base.value == pytest.approx((found.scores["steps"][0] == 5).mean())
    assert share.aligned.value == 1.0  # mean 0.58 with deviation 0.02: always the fifth step


def test_the_control_is_base_against_base_at_other_seeds(world):
    found = run(world, world.noise, world.brighter)
    assert found.control.ties == 0
    others = world.noise(world.prompts, [seed_of(0, Request(p, 1)) for p in range(40)])
    assert found.control.aligned_mean == pytest.approx(float(others.mean()))
    assert found.control.base_mean == row(found, "brightness").result.base_mean


def test_the_control_contains_one_half_as_often_as_its_confidence_says(world):
    world.rewards = {"brightness": world.rewards["brightness"]}
    sizes = Options(pictures=0, extremes=0, diversity_prompts=0, resamples=500, batch_size=40)
    controls = [run(world, world.noise, world.noise, seed=seed, options=sizes).control for seed in range(60)]
    assert 52 <= sum(control.low <= 0.5 <= control.high for control in controls) < 60  # 57 expected, deviation 1.7


def test_scores_belong_to_their_prompt_and_seed(world):
    found = run(world, world.noise, world.brighter, seeds_per_prompt=2, seed=9)
    seeds = found.seeds
    assert seeds.shape == (40, 2)
    assert len(np.unique(seeds)) == 80
    assert seeds.max() < 2**31
    for prompt, draw in [(0, 0), (17, 1), (39, 1)]:
        image = world.brighter([""], [int(seeds[prompt, draw])])
        assert found.scores["redness"][1][prompt, draw] == pytest.approx(float(image[:, 0].mean()))


def test_the_result_does_not_depend_on_batches_and_repeats(world):
    one = run(world, world.noise, world.brighter, seed=5)
    two = run(world, world.noise, world.brighter, seed=5, options=Options(**{**SMALL.__dict__, "batch_size": 1}))
    assert one.comparisons == two.comparisons
    assert one.control == two.control
    assert one.diversity == two.diversity
    assert run(world, world.noise, world.brighter, seed=6).control != one.control


def test_pictures_are_a_fair_sample_and_the_true_extremes(world):
    def uneven(prompts, seeds):
        lift = torch.tensor([(int(prompt.split()[-1]) - 20) / 100 for prompt in prompts])[:, None, None, None]
        return (world.noise(prompts, seeds) * 0.5 + 0.25 + lift).clamp(0, 1)

    found = run(world, lambda p, s: world.noise(p, s) * 0.5 + 0.25, uneven)
    assert [picture.index for picture in found.group("even")] == evenly_spaced(40, 5) == [4, 12, 20, 28, 36]
    assert [picture.index for picture in found.group("win")] == [39, 38]
    assert [picture.index for picture in found.group("loss")] == [0, 1]
    best = found.group("win")[0]
    again = (uneven([best.prompt], [best.seed])[0].permute(1, 2, 0) * 255).round().byte().numpy()
    np.testing.assert_array_equal(best.aligned, again)
    assert best.aligned_scores["brightness"] - best.base_scores["brightness"] == pytest.approx(0.19, abs=0.001)


def test_every_image_is_drawn_once_but_for_late_extremes(world):
    drawn = []

    def counting(prompts, seeds):
        drawn.extend(seeds)
        return world.noise(prompts, seeds)

    run(world, counting, world.brighter)
    extremes = 2
    assert len(drawn) == 40 + 40 + 4 * 1 + extremes  # comparison, control, third draw of four prompts
    assert len(set(drawn)) == 84


def test_diversity_by_hand(world):
    black, grey, white = torch.zeros(3, 4, 4), torch.full((3, 4, 4), 0.5), torch.ones(3, 4, 4)
    assert pairwise(torch.stack([black, grey, white]).numpy()) == pytest.approx((0.5 + 1 + 0.5) / 3)
    constant = run(world, world.noise, lambda prompts, seeds: torch.full((len(prompts), 3, 8, 8), 0.5))
    assert constant.diversity.aligned.value == 0
    assert constant.diversity.difference.high < 0
    assert constant.diversity.base.value == pytest.approx((1 / 6) ** 0.5, abs=0.01)  # two independent uniforms: variance 2 / 12
    assert (constant.diversity.prompts, constant.diversity.images_per_prompt) == (4, 3)


def test_diversity_does_not_depend_on_resolution():
    small = torch.rand(2, 3, 64, 64)
    large = small.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    np.testing.assert_allclose(thumbnails(large), thumbnails(small), atol=1e-6)
    assert thumbnails(torch.rand(1, 3, 256, 128)).shape == (1, 3, 64, 32)


def test_diversity_can_be_left_out(world):
    assert run(world, world.noise, world.noise, options=Options(diversity_prompts=0)).diversity is None


def test_labels_are_marked(world):
    assert [c.used_for_labels for c in run(world, world.noise, world.noise).comparisons] == [True, False, False]
    marked = run(world, world.noise, world.noise, used_for_labels={"steps"})
    assert row(marked, "steps").used_for_labels
    assert not row(marked, "brightness").used_for_labels


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"aligned_to": "brightnes"}, "aligned_to names the reward 'brightnes'.*did you mean 'brightness'"),
        ({"thresholds": {"oracle": 5}}, "thresholds names the reward 'oracle'"),
        ({"used_for_labels": ["taste"]}, "used_for_labels names the reward 'taste'"),
        ({"seeds_per_prompt": 0}, "seeds_per_prompt is 0"),
    ],
)
def test_bad_arguments_are_sentences(world, changes, sentence):
    with pytest.raises(UserError, match=sentence):
        run(world, world.noise, world.noise, **changes)


def test_a_vote_is_no_measure_of_two_sides(world):
    world.rewards = {**world.rewards, "vote": rewards.load("rank_vote", rewards=["colorfulness"])}
    with pytest.raises(UserError, match="reward 'vote' is a vote among the images of one side"):
        run(world, world.noise, world.noise)


def test_no_prompts_is_a_sentence(world):
    world.prompts = []
    with pytest.raises(UserError, match="has no prompt"):
        run(world, world.noise, world.noise)


@pytest.mark.parametrize("change", [{"batch_size": 0}, {"diversity_draws": 1}, {"confidence": 1.0}])
def test_bad_options_are_sentences(change):
    with pytest.raises(UserError, match=next(iter(change))):
        Options(**change)


def test_a_diverged_model_is_named(world):
    def diverged(prompts, seeds):
        images = world.noise(prompts, seeds)
        images[["number 11" in prompt for prompt in prompts]] = float("nan")
        return images

    with pytest.raises(UserError, match="aligned model.*'prompt number 11'"):
        run(world, world.noise, diverged)


def test_a_reward_that_is_no_number_names_reward_side_and_prompt(world):
    world.rewards["redness"]._score = lambda images, prompts: torch.tensor([float("nan") if "number 9" in p else 0.0 for p in prompts])
    with pytest.raises(UserError, match=r"'redness' gave nan for the base image of prompt 9 \('prompt number 9'\)"):
        run(world, world.noise, world.noise)


@pytest.mark.parametrize("images", [torch.zeros(2, 3, 4), torch.zeros(1, 3, 4, 4), torch.full((2, 3, 4, 4), -1.0)])
def test_a_sampler_that_breaks_its_contract_is_named(images):
    source = Source("base", lambda prompts, seeds: images, ["a", "b"], 0, 2)
    with pytest.raises(ValueError, match="the base sampler gave"):
        list(source.batches([Request(0, 0), Request(1, 0)]))


def test_largest_wins_are_wins():
    assert largest_wins(np.array([0.1, -1.0, 0.5, 0.0]), 3) == [2, 0]
