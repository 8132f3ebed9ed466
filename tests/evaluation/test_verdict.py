"""The words must follow from the numbers."""

from dataclasses import replace

import pytest

from mmalign.evaluation.evaluate import evaluate
from mmalign.evaluation.plan import Options
from mmalign.evaluation.statistics import Interval
from mmalign.evaluation.table import summary_markdown, text_table
from mmalign.evaluation.verdict import reading, remarks, verdict


@pytest.fixture
def evaluation(world):
    sizes = Options(pictures=0, extremes=0, diversity_prompts=4, diversity_draws=2, resamples=500)
    arguments = {"aligned_to": "brightness", "seed": 1, "thresholds": {"steps": 5}, "options": sizes, "progress": False}
    return evaluate(world.noise, world.brighter, world.prompts, world.rewards, **arguments)


def with_main(evaluation, **numbers):
    first, *others = evaluation.comparisons
    return replace(evaluation, comparisons=[replace(first, result=replace(first.result, **numbers)), *others])


NONE = "no measurable difference"


@pytest.mark.parametrize(
    ("low", "high", "word"), [(0.51, 0.6, "better"), (0.5, 0.6, NONE), (0.4, 0.6, NONE), (0.4, 0.5, NONE), (0.4, 0.49, "worse")]
)
def test_an_interval_that_touches_the_middle_claims_nothing(low, high, word):
    assert reading(low, high) == word


def test_verdicts_name_rate_interval_and_prompts(evaluation):
    better = with_main(evaluation, win_rate=0.785, low=0.72, high=0.8349)
    tail = 'under "brightness" (95% interval 72.0% to 83.5%, 40 prompts).'
    assert verdict(better) == f"The aligned model beats its base: it wins 78.5% of comparisons {tail}"
    same = with_main(evaluation, win_rate=0.52, low=0.45, high=0.59)
    assert verdict(same).startswith('No measurable difference under "brightness": the aligned model wins 52.0%')
    worse = with_main(evaluation, win_rate=0.3, low=0.2, high=0.41)
    assert verdict(worse).startswith("The aligned model is worse than its base: it wins only 30.0%")


def test_remarks_tell_the_witnesses_and_the_control(evaluation):
    said = " ".join(remarks(evaluation))
    assert "not used for the labels: redness no measurable difference (50.0%); steps better (75.0%)" in said
    assert "the interval contains 50%, as it must" in said
    assert "Images with steps at its maximum of 5:" in said
    assert "(a rise)" in said


def test_remarks_admit_what_is_wrong(evaluation):
    alone = replace(evaluation, comparisons=evaluation.comparisons[:1], control=replace(evaluation.control, low=0.55, high=0.7))
    said = " ".join(remarks(alone))
    assert "Every reward here made the training labels" in said
    assert "the interval misses 50%. Chance does this in about one run of 20" in said
    few = with_main(evaluation, n=12)
    assert "With 12 prompts the intervals are too narrow" in " ".join(remarks(few))


def test_the_table_lines_up(evaluation):
    lines = text_table(evaluation).splitlines()
    assert lines[0].split() == ["reward", "win", "rate", "interval", "prompts", "base", "mean", "aligned", "mean"]
    assert lines[2].startswith("brightness (made the labels)")
    assert lines[2].split()[4:9] == ["100.0%", "91.2%", "to", "100.0%", "40"]
    assert len({len(line) for line in lines[:6]}) == 1
    assert lines[5].startswith("control: base against base")
    assert lines[6].startswith("images with steps at its maximum of 5: ")


def test_a_loss_of_diversity_is_said(evaluation):
    sides = {"base": Interval(0.3, 0.28, 0.32), "aligned": Interval(0.2, 0.18, 0.22)}
    fallen = replace(evaluation.diversity, **sides, difference=Interval(-0.1, -0.2, -0.05))
    said = "Images of one prompt are more alike than before: diversity fell by 33.3%."
    assert said in remarks(replace(evaluation, diversity=fallen))
    assert said not in remarks(replace(evaluation, diversity=replace(fallen, difference=Interval(-0.1, -0.2, 0.0))))


def test_markdown_is_a_table(evaluation):
    row = replace(evaluation.comparisons[0], name="a|b")
    odd = replace(evaluation, comparisons=[row, *evaluation.comparisons])
    lines = summary_markdown(odd).splitlines()
    assert lines[0] == verdict(odd)
    assert lines[3] == "|---|---:|---:|---:|---:|---:|"
    assert lines[4].startswith("| a\\|b (made the labels) | 100.0% |")
    assert all(line.replace("\\|", "").count("|") == 7 for line in lines[2:9])
