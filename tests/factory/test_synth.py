"""A whole set in one go, stage by stage; what is done stays done, and what changed is told or made anew."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
import yaml

from mmalign import data
from mmalign.cli import main
from mmalign.config import SynthConfig, from_mapping
from mmalign.errors import UserError
from mmalign.factory import generate, rank
from mmalign.factory.synth import run
from mmalign.scoring import run as scoring
from tests.factory.conftest import contents
from tests.forked import shared

PROMPTS = [
    "a small red circle at the center on a white background",
    "a large blue square at the top on a gray background",
    "a small green cross at the left on a black background",
]


@pytest.fixture(scope="module")
def make(base, other, tmp_path_factory):
    """Two models, two rewards, three prompts; keys changed by their dotted names."""
    file = tmp_path_factory.mktemp("prompts") / "prompts.txt"
    file.write_text("\n".join(PROMPTS))

    def make(folder, **changes):
        values = {
            "prompts": str(file),
            "generate": {"models": [str(base), str(other)], "num_inference_steps": 2, "seeds_per_prompt": 2, "shard_size": 4},
            "score": {"rewards": ["colorfulness", {"name": "taste", "user": "poster"}], "chunk_size": 5},
            "rank": {"keep": "ranking", "shard_size": 2},
            "output_dir": str(folder),
        }
        for key, value in changes.items():
            section, _, name = key.partition("__")
            if name:
                values[section] = {**values[section], name: value}
            else:
                values[key] = value
        return from_mapping(values, SynthConfig)

    return make


@pytest.fixture(scope="module")
def whole(make, tmp_path_factory):
    """A set that was made at once, and what was said of it."""
    said = []
    folder = tmp_path_factory.mktemp("whole") / "set"
    run(make(folder), said.append)
    return folder, said


@pytest.fixture
def recipe(make, tmp_path):
    """The recipe for a folder of the test's own."""
    return lambda **changes: make(tmp_path / "set", **changes)


@pytest.fixture
def copy(whole, tmp_path):
    """The set in that folder."""
    shutil.copytree(whole[0], tmp_path / "set")


@pytest.fixture
def done(monkeypatch):
    """The stages that were run, in order."""
    stages = []

    def noted(module, name):
        real = module.run
        monkeypatch.setattr(module, "run", lambda config, processes=None: stages.append(name(config)) or real(config, processes))

    noted(generate, lambda config: "generate")
    noted(scoring, lambda config: config.rewards[0].title)
    noted(rank, lambda config: "rank")
    return stages


def pictures_and_preferences(folder):
    return contents(folder / "pictures"), contents(folder / "preferences")


def scores_of(folder, name):
    return [row[name] for row in pq.read_table(folder / "scores" / f"{name}.parquet").to_pylist()]


def test_the_whole_is_its_parts_one_after_another(whole):
    folder, said = whole
    assert [text.splitlines()[0] for text in said] == ["[1/4] generate", "[2/4] score colorfulness", "[3/4] score taste", "[4/4] rank"]
    pictures = pq.read_table(folder / "pictures").to_pylist()
    assert len(pictures) == 12
    scores = [scores_of(folder, name) for name in ("colorfulness", "taste")]
    rows = pq.read_table(folder / "preferences").to_pylist()
    assert [row["prompt"] for row in rows] == PROMPTS
    # by hand: of the four pictures of a prompt, votes of two scorers over three comparisons each
    for row in rows:
        mine = [index for index, picture in enumerate(pictures) if picture["prompt"] == row["prompt"]]
        votes = {index: sum(column[index] > column[each] for column in scores for each in mine) / (2 * 3) for index in mine}
        order = sorted(mine, key=lambda index: -votes[index])
        assert row["images"] == [pictures[index]["image"]["bytes"] for index in order]
        assert row["scores"] == pytest.approx([votes[index] for index in order])
        assert row["models"] == [pictures[index]["model"] for index in order]
        assert row["seeds"] == [pictures[index]["seed"] for index in order]
    assert [example.prompt for example in data.load("ranked", folder / "preferences")] == PROMPTS


@pytest.mark.usefixtures("copy")
def test_what_is_done_stays_done(recipe, done, whole):
    said = []
    run(recipe(), said.append)
    assert done == []
    assert all("done before" in text for text in said)
    assert pictures_and_preferences(recipe().output_dir) == pictures_and_preferences(whole[0])


def test_a_stop_at_any_stage_loses_no_stage_before(recipe, done, whole, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    for module, name, before in [
        (generate, None, []),
        (scoring, "colorfulness", ["generate"]),
        (scoring, "taste", ["colorfulness"]),
        (rank, None, ["taste"]),
    ]:
        with monkeypatch.context() as patch:
            real = module.run
            patch.setattr(
                module,
                "run",
                lambda config, p, real=real, name=name: stop() if name is None or config.rewards[0].title == name else real(config, p),
            )
            with pytest.raises(KeyboardInterrupt):
                run(recipe(), [].append)
        assert done == before
        done.clear()
    run(recipe(), [].append)
    assert done == ["rank"]
    assert pictures_and_preferences(recipe().output_dir) == pictures_and_preferences(whole[0])
    for name in ("colorfulness", "taste"):
        assert scores_of(recipe().output_dir, name) == scores_of(whole[0], name)


@pytest.mark.usefixtures("copy")
def test_other_thresholds_make_the_preferences_anew_and_nothing_else(recipe, done):
    folder = run(recipe(rank__keep="best_worst"), [].append)
    assert done == ["rank"]
    assert 0 < len(data.load("pickapic", folder)) <= 3


@pytest.mark.usefixtures("copy")
def test_one_more_reward_is_all_that_is_scored(recipe, done):
    rewards = ["colorfulness", {"name": "taste", "user": "poster"}, {"name": "taste", "user": "crisp", "label": "crisp / sharp"}]
    run(recipe(score__rewards=rewards), [].append)
    assert done == ["crisp / sharp", "rank"]


@pytest.mark.usefixtures("copy")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"generate__num_inference_steps": 3}, "whose stage generate is another: num_inference_steps was 2 and is 3; give the same"),
        ({"limit": 2}, "whose stage generate is another: the prompts are others"),
        ({"score__rewards": ["colorfulness", {"name": "taste", "user": "bold"}]}, 'stage score taste is another: reward.user was "poster"'),
    ],
)
def test_what_took_long_is_never_given_up_silently(recipe, done, whole, changes, said):
    with pytest.raises(UserError, match=said):
        run(recipe(**changes), [].append)
    assert done == []
    assert contents(recipe().output_dir / "pictures") == contents(whole[0] / "pictures")


@pytest.mark.usefixtures("copy")
def test_overwrite_starts_anew(recipe, done, base):
    # a sum, as the votes of two scorers on two pictures may be even
    run(recipe(limit=1, generate__models=[str(base)], rank__label="weighted_sum", overwrite=True), [].append)
    assert done == ["generate", "colorfulness", "taste", "rank"]
    assert pq.read_table(recipe().output_dir / "pictures").num_rows == 2


def test_two_processes_make_the_set_that_one_makes(recipe, whole):
    shared(lambda rank: run(recipe(), [].append))
    assert pictures_and_preferences(recipe().output_dir) == pictures_and_preferences(whole[0])


def test_somebody_else_s_folder_is_left_alone(recipe, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="set holds something else, which is never overwritten"):
        run(recipe(overwrite=True), [].append)


def test_keys_of_rank_name_rewards_of_score(recipe):
    with pytest.raises(UserError, match="rank.never_worse names 'tast', which is none of the rewards; did you mean 'taste'?"):
        recipe(rank__never_worse=["tast"], rank__keep="best_worst")


def test_the_command_and_what_it_would_cost(recipe, tmp_path, capsys):
    config = recipe(limit=1)
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(json.loads(config.model_dump_json(exclude_defaults=True))))
    assert main(["synth", str(file), "--dry-run"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "1 prompt, 2 models, 2 per prompt and model: 4 pictures in 2 files, 2 rewards"
    costs = [["generate", "base", "2"], ["generate", "other", "2"], ["score", "colorfulness", "4"], ["score", "taste", "4"], ["rank", "4"]]
    assert [line.split()[: len(cost)] for line, cost in zip(shown[4:9], costs, strict=True)] == costs
    assert not (tmp_path / "set").exists()
    assert main(["synth", str(file), "--rank.keep", "adjacent"]) == 0
    shown = capsys.readouterr().out
    assert "[4/4] rank" in shown
    assert shown.strip().endswith(str(tmp_path / "set" / "preferences"))
    assert contents(tmp_path / "set" / "preferences")
    assert (tmp_path / "set" / "synth.yaml").exists()
