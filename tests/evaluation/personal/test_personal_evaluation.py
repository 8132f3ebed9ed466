"""Fake models whose pictures follow from what they are given, so that every result can be derived."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image

from mmalign.errors import UserError
from mmalign.evaluation.personal.evaluate import evaluate, planned
from mmalign.evaluation.personal.people import Person, RewardOfEach
from mmalign.evaluation.personal.plan import Options
from mmalign.evaluation.personal.report import write_report
from mmalign.evaluation.personal.words import remarks, text_table, verdict
from tests.evaluation.conftest import Brightness

PROMPTS = ["a wall", "a floor", "a door"]
OPTIONS = Options(shots=(1, 4), main_shots=4, interpolations=1, batch_size=5, shown_prompts=2, shown_people=2, resamples=500)


def gray(levels):
    return torch.tensor(levels).view(-1, 1, 1, 1).expand(-1, 3, 8, 8).clamp(0, 1)


def base(prompts, seeds):
    """Gray, a little more or less by the seed."""
    return gray([0.5 + (seed % 7 - 3) / 100 for seed in seeds])


def personal(prompts, seeds, users):
    """As bright as the embedding says."""
    return gray([0.5 + user.mean().item() / 2 for user in users])


def judge(images, prompts, people):
    """Bright people like light, dark people darkness."""
    light = images.mean((1, 2, 3)) - 0.5
    return torch.stack([light if name.startswith("bright") else -light for name in people], dim=1)


def person(name, group, level, weak=0.2):
    """Four choices tell the level, one only a part of it."""
    return Person(name, group, {4: torch.full((1, 2), level), 1: torch.full((1, 2), weak * level)}, said=f"likes {name[:-1]}")


PEOPLE = [
    person("bright1", "unseen", 0.8),
    person("dark1", "unseen", -0.8),
    person("bright2", "seen", 0.6),
    person("dark2", "seen", -0.6),
]


@pytest.fixture(scope="module")
def found():
    return evaluate(
        base,
        personal,
        PEOPLE,
        PROMPTS,
        judge,
        population=lambda prompts, seeds: gray([0.9] * len(prompts)),
        witnesses={"brightness": Brightness()},
        options=OPTIONS,
        progress=False,
    )


def test_own_pictures_win_over_the_base_and_over_others(found):
    assert found.main.name == "unseen people, 4 choices: over the base"
    assert found.main.result.win_rate == 1.0
    assert found.find("unseen", "others").result.win_rate == 1.0
    assert found.find("seen", "base").result.aligned_mean == pytest.approx(0.3, abs=1e-6)


def test_the_population_pleases_the_bright_as_much_and_the_dark_never(found):
    """Bright people see 0.9 from both and tie; dark people win: (0.5 + 1) / 2."""
    result = found.find("unseen", "population").result
    assert result.win_rate == pytest.approx(0.75)
    assert (result.wins, result.ties, result.losses) == (1, 1, 0)


def test_fewer_choices_tell_less(found):
    """At a fifth of the level scores are 0.08 in place of 0.4, still over a base that differs by 0.03 at most."""
    assert found.find("unseen", "base", 1).result.aligned_mean == pytest.approx(0.08, abs=1e-6)
    assert found.find("seen", "base", 1) is None


def test_the_way_from_one_person_to_another_is_straight(found):
    """Embeddings 0.8 to -0.8 by quarters: light 0.4, 0.2, 0, -0.2, -0.4."""
    whole, alone = found.interpolations
    assert (whole.names, alone.names) == (None, ("bright1", "dark1"))
    assert [mean.value for mean in whole.first] == pytest.approx([0.4, 0.2, 0, -0.2, -0.4], abs=1e-6)
    assert [mean.value for mean in whole.second] == pytest.approx([-0.4, -0.2, 0, 0.2, 0.4], abs=1e-6)
    assert whole.monotone
    assert whole.turned == 0
    back = replace(whole, second_steps=whole.first_steps)
    assert not back.monotone
    assert back.turned == 4


def test_witnesses_and_the_control_do_not_know_people(found):
    over = {(row.group, row.against): row.result.win_rate for row in found.witnesses}
    assert over == {("unseen", "base"): 0.5, ("unseen", "population"): 0.25, ("seen", "base"): 0.5, ("seen", "population"): 0.0}
    assert found.control.win_rate == pytest.approx(0.5)  # what the bright win the dark lose


def test_a_batch_holds_pictures_of_several_people():
    work = planned(PEOPLE, 3, OPTIONS, population=True)
    drawn = [one for one in work if one.side == "personal"]
    assert {one.of for one in drawn[:5]} == {"bright1", "bright1, 1", "dark1", "dark1, 1", "bright2"}
    assert len({one.key for one in work}) == len(work) == 3 * (2 + 1 + 4 + 2 + 3)  # base twice, population, two shots, seen, shares


def test_the_report_holds_it_all(found, tmp_path):
    page = write_report(found, tmp_path, {"seed": 0}, "mmalign users evaluate").read_text()
    numbers = json.loads((tmp_path / "report.json").read_text())
    assert {"aligned_to", "comparisons", "control", "seconds", "versions", "people", "interpolations"} <= numbers.keys()
    first = numbers["comparisons"][0]
    assert (first["group"], first["against"], first["shots"], first["win_rate"]) == ("unseen", "base", 4, 1.0)
    assert numbers["interpolations"][0]["monotone"] is True
    assert "likes bright" in page
    assert page.count("<img") == 2 * (2 + 2)
    assert Image.open(tmp_path / "people.png").width > 4 * 150
    lines = (tmp_path / "scores.jsonl").read_text().splitlines()
    assert len(lines) == 3 * 12
    assert "unseen people, 4 choices: over the base" in text_table(found)
    # two people are too few for any claim, even where all is won
    assert verdict(found).startswith(
        "No measurable difference for unseen people of whom it knows 4 choices: as they judge, its pictures win 100"
    )
    assert any("brightness" in line for line in remarks(found))


def test_known_names_are_mixed_by_name():
    people = [Person(name, "seen", {0: name}) for name in ("bright", "dark")]
    given = []

    def drawn(prompts, seeds, users):
        given.extend(users)
        return gray([0.5] * len(users))

    evaluate(base, drawn, people, PROMPTS[:1], judge, options=replace(OPTIONS, shots=(0,), main_shots=0), progress=False)
    assert given == ["bright", "dark", {"bright": 0.75, "dark": 0.25}, {"bright": 0.5, "dark": 0.5}, {"bright": 0.25, "dark": 0.75}]


def test_other_numbers_of_choices_may_be_drawn_for_fewer_prompts(tmp_path):
    few = replace(OPTIONS, few_prompts=2)
    work = planned(PEOPLE, 3, few, population=True)
    assert len(work) == 3 * (2 + 1 + 4) + 2 * (2 + 3)
    found = evaluate(base, personal, PEOPLE, PROMPTS, judge, options=few, progress=False)
    rows = [(row.group, row.against, row.shots, row.prompts) for row in found.comparisons]
    assert rows[:4] == [("unseen", "base", 4, 3), ("unseen", "others", 4, 3), ("seen", "base", 4, 3), ("seen", "others", 4, 3)]
    assert [(row.shots, row.prompts) for row in found.by_shots("base")] == [(1, 2), (4, 2)]
    assert found.by_shots("population") == []
    assert found.find("unseen", "base").prompts == 3
    assert "on 2 prompts" in write_report(found, tmp_path, {}, "").read_text()


def test_one_unseen_person_is_mixed_with_a_seen_one(tmp_path):
    people = [PEOPLE[0], PEOPLE[3]]
    found = evaluate(base, personal, people, PROMPTS, judge, options=OPTIONS, progress=False)
    assert found.interpolations[1].names == ("bright1", "dark2")
    assert [mean.value for mean in found.interpolations[0].first][::4] == pytest.approx([0.4, -0.3], abs=1e-6)
    assert found.find("unseen", "others") is None
    write_report(found, tmp_path, {}, "")


def test_each_person_may_have_a_reward():
    made = []

    def build(name):
        made.append(name)
        return Brightness()

    each = RewardOfEach(build)
    assert each(gray([0.2, 0.8]), ["a", "b"], ["ann", "ben"]).flatten().tolist() == pytest.approx([0.2, 0.2, 0.8, 0.8])
    each(gray([0.2]), ["a"], ["ann"])
    assert made == ["ann", "ben"]


@pytest.mark.parametrize(
    ("people", "prompts", "message"),
    [
        ([], PROMPTS, "nobody"),
        (PEOPLE, [], "no prompt"),
        ([PEOPLE[0], PEOPLE[0]], PROMPTS, "two people called 'bright1'"),
        ([replace(PEOPLE[0], users={4: torch.zeros(1, 2)})], PROMPTS, "no embedding of 1 choices"),
    ],
)
def test_what_cannot_be_evaluated_is_said(people, prompts, message):
    with pytest.raises(UserError, match=message):
        evaluate(base, personal, people, prompts, judge, options=OPTIONS, progress=False)
