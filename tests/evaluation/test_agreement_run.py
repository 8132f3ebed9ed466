"""`mmalign evaluate-reward` from files to table and report, with a scorer whose every score is known."""

import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from mmalign.cli import main
from mmalign.config import EvaluateRewardConfig, from_mapping
from mmalign.errors import UserError
from mmalign.evaluation.agreement.run import evaluate_rewards
from mmalign.evaluation.agreement.saved_scores import SavedScores
from mmalign.evaluation.agreement.words import calibrated
from mmalign.shapes import captions
from mmalign.shapes.render import render
from mmalign.shapes.scene import Scene
from tests.pages import Page
from tests.painted import paint

# (prompt, ranks of people, scores); None is no score. As in test_agreement_policies.py, where the accuracies are derived.
RANKED = [("a", [1, 2, 3], [30, 20, 10]), ("b", [1, 2, 3], [10, 20, 20]), ("c", [2, 2, 1], [10, 20, 30])]


def write_ranked(folder, rows=RANKED, name="test.json"):
    listed = []
    for k, (prompt, ranks, scores) in enumerate(rows):
        files = [f"{name}-{k}-{i}.png" for i in range(len(ranks))]
        for file, score in zip(files, scores, strict=True):
            paint(folder / "test" / file, score or 0, 255 if score is None else 0)
        listed.append({"prompt": prompt, "image_path": files, "rank": ranks, "kind": "odd" if k % 2 else "even"})
    (folder / name).write_text(json.dumps(listed))
    return folder / name


@pytest.fixture
def config(tmp_path, painted):
    """config(**keys): the configuration for the painted scorer on the three rankings."""

    def make(**keys):
        source = keys.pop("source", None) or str(write_ranked(tmp_path))
        fixed = {"rewards": ["known.painted"], "source": source, "output_dir": str(tmp_path / "out"), "resamples": 200}
        return from_mapping({**fixed, **keys}, EvaluateRewardConfig)

    return make


def found(config, **keys):
    return evaluate_rewards(config(**keys), progress=False)


def accuracies(findings):
    return {(row.policy, row.mean): row.value.value for row in findings.agreements[0].accuracies}


def test_accuracies_by_hand(config):
    findings = found(config)
    assert accuracies(findings) == pytest.approx(
        {
            ("decided", "pairs"): 5 / 8,
            ("decided", "rankings"): 2 / 3,
            ("never_wrong", "pairs"): 7 / 9,
            ("never_wrong", "rankings"): 7 / 9,
        }
    )
    judgments, agreement = findings.judgments, findings.agreements[0]
    assert (judgments.rankings, judgments.prompts, judgments.pairs, judgments.ties, judgments.reader) == (3, 3, 9, 1, "hpdv2")
    assert (agreement.equal, agreement.unscored, agreement.unit) == (1, 0, "red of 255")


def test_a_scorer_that_is_better_the_lower_is_turned_round(config, painted, monkeypatch):
    monkeypatch.setattr(painted, "higher_is_better", False)
    assert accuracies(found(config))["decided", "pairs"] == 2 / 8  # the two that were wrong, and not the tied one


@pytest.mark.parametrize(("joint", "calls"), [(True, [3, 3, 3]), (False, [9])])
def test_a_vote_is_among_the_images_of_one_row(config, painted, monkeypatch, joint, calls):
    seen, score = [], painted.score
    monkeypatch.setattr(painted, "joint", joint)
    monkeypatch.setattr(painted, "score", lambda self, images, prompts: seen.append(len(images)) or score(self, images, prompts))
    found(config)
    assert seen == calls


def test_sources_are_told_apart(config):
    rows = found(config, by=["kind"]).agreements[0].sources
    assert [(row.source, row.value.value, row.pairs) for row in rows] == [("even", 1.0, 5), ("odd", 0.0, 3)]
    with pytest.raises(UserError, match=r"has no column 'kint'; did you mean 'kind'\?"):
        found(config, by=["kint"])


def test_the_threshold_and_the_temperature_come_from_the_validation_source(config, tmp_path):
    """In the validation source the two close pairs are ties for people, and 9 of 10 pairs 50 apart are right."""
    rows = [("t", [1, 1], [100, 105]), ("u", [1, 1], [100, 95])]
    rows += [(f"v{k}", [1, 2], [150, 100] if k else [100, 150]) for k in range(10)]
    validation = write_ranked(tmp_path, rows, "val.json")
    findings = found(config, validation_source=str(validation))
    agreement = findings.agreements[0]
    assert agreement.threshold == 5
    # no pair of the test source is as close as 5 but the tied one, which is half right; so is people's tie
    assert accuracies(findings)["half_credit", "pairs"] == pytest.approx((5 + 0.5 + 0.5) / 9)
    assert agreement.calibration.temperature == pytest.approx(50 / math.log(9))
    assert (agreement.calibration.fitted_on, agreement.calibration.pairs) == (10, 8)
    assert findings.judgments.validation == str(validation)


def test_the_published_margins_are_those_of_logits(config, tmp_path):
    """Differences of 0.1 and 50 times 0.01: a margin of 0.1 between probabilities is 0.2007 between logits."""
    rows = [("t", [1, 1], [110, 100])] * 3 + [(f"v{k}", [1, 2], [150, 100]) for k in range(10)]
    validation = write_ranked(tmp_path, rows, "val.json")
    scorer = [{"name": "known.painted", "factor": 0.01}]
    agreement = found(config, rewards=scorer, validation_source=str(validation), thresholds="published").agreements[0]
    assert agreement.threshold == pytest.approx(2 * math.atanh(0.1))


def stored(tmp_path, red):
    paint(tmp_path / "one.png", red)
    return (tmp_path / "one.png").read_bytes()


def test_pick_a_pics_splits_are_read_as_they_are_downloaded(config, tmp_path):
    """In the validation split people see ties up to 10 apart; in the test split SD wins once, loses once and ties once, 10 apart."""
    splits = {
        "validation_unique": [(50, 40, 0.5, "sd", "xl"), (90, 40, 1.0, "sd", "xl")],
        "test_unique": [(90, 40, 1.0, "sd", "xl"), (40, 90, 1.0, "xl", "xl"), (50, 40, 0.5, "sd", "xl")],
    }
    for split, pairs in splits.items():
        rows = [
            {"caption": f"c{k}", "jpg_0": stored(tmp_path, a), "jpg_1": stored(tmp_path, b), "label_0": label, "label_1": 1 - label}
            | {"model_0": first, "model_1": second, "has_label": True}
            for k, (a, b, label, first, second) in enumerate(pairs)
        ]
        folder = tmp_path / "data"
        folder.mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}-00000-of-00001-ecef20a3469ae6e6.parquet")
    findings = found(config, source=str(folder), split="test_unique", validation_split="validation_unique")
    assert accuracies(findings) == {("decided", "pairs"): 0.5, ("never_wrong", "pairs"): 2 / 3, ("half_credit", "pairs"): 2 / 3}
    agreement = findings.agreements[0]
    assert agreement.threshold == 10
    assert [(row.source, row.value.value, row.pairs) for row in agreement.sources] == [("xl", 0.5, 2), ("sd", 1.0, 1)]
    assert findings.judgments.reader == "pickapic"


def test_image_reward_db_is_read_as_it_is_downloaded(config, tmp_path):
    """Two images of animals in people's order, two of people against it; the classes are the sources without being asked for."""
    rows = []
    for key, ranks, reds in (("Animals", (1, 2), (90, 40)), ("People", (1, 2), (40, 90))):
        for rank, red in zip(ranks, reds, strict=True):
            name = f"images/test/test_1/{key}-{rank}.webp"
            paint(tmp_path / name, red)
            rows.append({"image_path": name, "prompt_id": key, "prompt": f"prompt {key}", "classification": key, "rank": rank})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "metadata-test.parquet")
    findings = found(config, source=str(tmp_path / "metadata-test.parquet"))
    assert [(row.source, row.value.value) for row in findings.agreements[0].sources] == [("Animals", 1.0), ("People", 0.0)]
    with pytest.raises(UserError, match="column 'rank' has several values for the images of one prompt; give a column with one value"):
        found(config, source=str(tmp_path / "metadata-test.parquet"), by=["rank"])


def test_no_score_is_counted_apart(config, tmp_path):
    rows = [("a", [1, 2, 3], [30, None, 10]), *RANKED[1:]]
    findings = found(config, source=str(write_ranked(tmp_path, rows)))
    assert findings.agreements[0].unscored == 2
    assert accuracies(findings)["decided", "pairs"] == 3 / 6


def test_scores_are_kept_and_other_rules_score_nothing(config, painted, tmp_path):
    rows = [("a", [1, 2, 3], [30, None, 10]), *RANKED[1:]]
    source = str(write_ranked(tmp_path, rows))
    first = found(config, source=source)
    assert sum(painted.calls) == 9
    again = found(config, source=source, by=["kind"], confidence=0.9)
    assert sum(painted.calls) == 9
    assert accuracies(again) == accuracies(first)
    assert again.agreements[0].unscored == 2
    (saved,) = (tmp_path / "out" / "scores").iterdir()
    assert len(saved.read_text().splitlines()) == 3
    found(config, source=source, rewards=[{"name": "known.painted", "factor": 2.0}])
    assert sum(painted.calls) == 18  # another configuration is another scorer
    paint(tmp_path / "test" / "test.json-0-0.png", 200)
    found(config, source=source)
    assert sum(painted.calls) == 21  # a picture that was drawn anew is another picture


@pytest.mark.parametrize("place", [lambda at: str(at), lambda at: [{"name": "x", "pretrained": str(at)}]], ids=["own", "a member's"])
@pytest.mark.parametrize("folder", [False, True])
def test_a_scorer_trained_anew_at_its_old_place_is_another_one(tmp_path, place, folder):
    weights = tmp_path / "weights.pt"
    fields = {"pretrained": place(tmp_path if folder else weights), "question": "does it show this? " * 99}
    weights.write_bytes(b"old")

    def saved():
        return SavedScores(tmp_path / "scores", "scorer", fields)

    first = saved()
    first.put("key", (1.0,))
    first.save()
    assert saved().get("key") == (1.0,)
    weights.write_bytes(b"newer")
    assert saved().get("key") is None


def test_a_run_that_was_broken_off_goes_on_where_it_stopped(config, painted, tmp_path, monkeypatch):
    source = str(write_ranked(tmp_path))
    monkeypatch.setattr("mmalign.evaluation.agreement.scoring._IMAGES", 3)
    score = painted._score

    def stopping(self, images, prompts):
        if len(painted.calls) == 2:
            raise KeyboardInterrupt
        return score(self, images, prompts)

    def stopping_at_once(self, images, prompts):
        raise KeyboardInterrupt

    monkeypatch.setattr(painted, "_score", stopping_at_once)
    with pytest.raises(KeyboardInterrupt, match="^stopped; nothing is scored yet$"):
        found(config, source=source)
    monkeypatch.setattr(painted, "_score", stopping)
    with pytest.raises(KeyboardInterrupt, match=r"stopped; the scores so far are in .*painted-.*jsonl, and the same command goes on"):
        found(config, source=source)
    monkeypatch.setattr(painted, "_score", score)
    assert accuracies(found(config, source=source))["decided", "pairs"] == 5 / 8
    assert painted.calls == [3, 3, 3]


def test_broken_scores_are_a_sentence(config, tmp_path):
    found(config)
    (saved,) = (tmp_path / "out" / "scores").iterdir()
    saved.write_text('{"key": "x", "scores": [1]}\n{"key"\n')
    with pytest.raises(UserError, match=r"jsonl, line 2 holds no scores; remove the file to score anew"):
        found(config)


def test_a_picture_that_cannot_be_read_stops_the_run_or_is_left_out(config, tmp_path):
    source = write_ranked(tmp_path)
    (tmp_path / "test" / "test.json-1-2.png").unlink()
    with pytest.raises(UserError, match=r"test.json-1-2.png \(.*row 1\) cannot be read as an image \(there is no such file\)"):
        found(config, source=str(source))
    findings = found(config, source=str(source), on_broken="skip")
    assert findings.judgments.left_out == {"broken image": 1}
    assert (findings.judgments.rankings, findings.judgments.pairs) == (2, 6)
    assert accuracies(findings)["decided", "pairs"] == 1.0
    for path in (tmp_path / "test").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"no row of .*test.json has images that can all be read; check where the images lie"):
        found(config, source=str(source), on_broken="skip")


def test_images_that_lie_elsewhere_are_a_sentence(config, tmp_path):
    source = write_ranked(tmp_path)
    with pytest.raises(UserError, match=r"does not exist; paths start from the folder of the data file, or from the reader's image_folder"):
        found(config, source=str(source), columns={"image_folder": "train"})
    assert found(config, source=str(source), columns={"image_folder": "test"}).judgments.rankings == 3


def test_winners_alone_and_ties_alone_are_sentences(config, tmp_path):
    single = write_ranked(tmp_path, [("a", [1], [3])], "single.json")
    with pytest.raises(UserError, match="has no prompt with two or more images, so there is nothing to compare; give rankings or pairs"):
        found(config, source=str(single))
    tied = write_ranked(tmp_path, [("a", [1, 1], [3, 4])], "tied.json")
    with pytest.raises(UserError, match="none of the 1 pairs is decided: people saw ties only"):
        found(config, source=str(tied))


def test_a_scorer_without_scores_is_a_sentence(config, tmp_path):
    source = write_ranked(tmp_path, [("a", [1, 2], [3, None])])
    with pytest.raises(UserError, match=r"'known.painted' gave no score to both images of any decided pair"):
        found(config, source=str(source))


def test_a_row_that_a_scorer_refuses_is_named(config, painted, monkeypatch):
    score = painted.score

    def refusing(self, images, prompts):
        if "b" in prompts:
            raise ValueError("b is no prompt")
        return score(self, images, prompts)

    monkeypatch.setattr(painted, "score", refusing)
    with pytest.raises(UserError, match=r"Painted cannot score row 1 \('b'\): b is no prompt"):
        found(config)


def test_a_place_that_cannot_be_written_is_told_before_anything_is_scored(config, painted, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write into .*file/out: Not a directory; choose another place"):
        found(config, output_dir=str(tmp_path / "file" / "out"))
    assert painted.calls == []


def test_two_runs_at_once_keep_each_other_s_scores(tmp_path):
    first, second = (SavedScores(tmp_path, "scorer", {}) for _ in range(2))
    first.put("a", (1.0,))
    second.put("b", (2.0,))
    first.save()
    second.save()
    both = SavedScores(tmp_path, "scorer", {})
    assert (both.get("a"), both.get("b")) == ((1.0,), (2.0,))


def test_a_scorer_no_better_than_a_coin_elsewhere_has_no_temperature(config, tmp_path):
    validation = write_ranked(tmp_path, [("v", [1, 2], [100, 150])], "val.json")
    (agreement,) = found(config, validation_source=str(validation)).agreements
    assert calibrated(agreement.calibration, agreement.unit) == (
        "temperature infinite (fitted on 1 pair): there the scorer is no better than a coin, so every pair is taken to be even"
    )


def test_a_scorer_that_counts_wrongly_is_a_sentence(config, painted, monkeypatch):
    monkeypatch.setattr(painted, "score", lambda self, images, prompts: torch.zeros(2))
    with pytest.raises(UserError, match="Painted gave 2 scores for 9 images; it should give one for each"):
        found(config)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"source": None}, "there is nothing to evaluate on; give source, or benchmark_images with benchmark_prompts"),
        ({"benchmark_images": "x"}, "benchmark_images and benchmark_prompts belong together; give both, or neither"),
        (
            {"source": None, "benchmark_images": "x", "benchmark_prompts": "y", "validation_split": "v"},
            "there is a validation source but no source; give source too",
        ),
        ({"validation_source": "there"}, "the validation source is the source itself; tune on other judgments"),
        ({"dataset": "hpdv2"}, "dataset is 'hpdv2', it should be 'hpdv2_test'"),
        ({"scource": "x"}, "unknown key 'scource'; did you mean 'source'?"),
    ],
)
def test_keys_that_do_not_fit_are_sentences(keys, sentence):
    given = {"rewards": ["oracle"], "source": "there", "output_dir": "out", **keys}
    with pytest.raises(UserError) as caught:
        from_mapping({key: value for key, value in given.items() if value is not None}, EvaluateRewardConfig)
    assert sentence in str(caught.value)


def test_the_command_prints_and_writes_what_was_found(tmp_path, painted, capsys):
    source = write_ranked(tmp_path)
    validation = write_ranked(tmp_path, [("<v>", [1, 2], [150, 100]), ("w", [1, 2], [100, 150]), ("x", [1, 2], [90, 10])], "val.json")
    words = ["--rewards", "known.painted", "colorfulness", "--source", str(source), "--validation-source", str(validation)]
    words += ["--by", "kind", "--output-dir", str(tmp_path / "out"), "--resamples", "200"]
    assert main(["evaluate-reward", *words]) == 0
    printed = capsys.readouterr().out
    said = " ".join(printed.split())
    assert '"known.painted" prefers the image that people preferred in 62.5% of 8 decided pairs' in said
    assert '"colorfulness" prefers the image that people preferred in' in said
    starts = ("known.painted", "colorfulness", "ties dropped, over pairs ")
    rows = [line.split() for line in printed.splitlines() if line.startswith(starts)]
    # side by side, the better one first, then each by itself
    assert [rows[0][:2], rows[1][0], rows[2][-1]] == [["known.painted", "62.5%"], "colorfulness", "-"]
    assert rows[2][4] == "62.5%"
    assert "calibration: temperature" in said
    assert printed.splitlines()[-1] == str(tmp_path / "out" / "report.html")
    assert all(len(line) <= 80 or str(tmp_path) in line for line in printed.splitlines())

    record = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [row["name"] for row in record["agreements"]] == ["known.painted", "colorfulness"]
    assert record["agreements"][0]["accuracies"][0]["value"]["value"] == 5 / 8
    assert record["agreements"][0]["calibration"]["pairs"] == 8
    assert record["judgments"]["pairs"] == 9
    assert record["config"]["by"] == ["kind"]

    page = Page((tmp_path / "out" / "report.html").read_text())
    assert "2 scorers beside each other on" in page.text
    for part in ("62.5%", "Accuracy of known.painted", "known.painted by source", "Calibration", "Configuration", "Versions"):
        assert part in page.text
    dots = [attributes["cx"] for tag, attributes in page.tags if attributes.get("class") == "dot"]
    assert dots[0] == dots[2] == "62.50%"
    labels = [attributes["aria-label"] for tag, attributes in page.tags if tag == "svg" and "aria-label" in attributes]
    assert sum(label.startswith("calibration of") for label in labels) == 2


def test_published_numbers_stand_beside_a_whole_test_set(tmp_path, painted, capsys, in_place_of):
    """A fake of Pick-a-Pic's 500 rows under the name of PickScore, with weights of one's own; half of the rows are right."""

    class OwnWeights(painted):
        def __init__(self, pretrained: str = "yuvalkirstain/PickScore_v1"):
            super().__init__()

    in_place_of("pickscore", OwnWeights)
    rows = [{"caption": f"c{k}", "jpg_0": "a.png", "jpg_1": "b.png", "label_0": k % 2, "label_1": 1 - k % 2} for k in range(500)]
    paint(tmp_path / "a.png", 20)
    paint(tmp_path / "b.png", 10)
    for name in ("test", "val"):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    scorer = "{name: pickscore, pretrained: runs/mine}"
    words = ["--rewards", scorer, "--source", str(tmp_path / "test.jsonl"), "--dataset", "pickapic_v1_test_unique"]
    words += ["--validation-source", str(tmp_path / "val.jsonl"), "--output-dir", str(tmp_path / "out"), "--resamples", "200"]
    assert main(["evaluate-reward", *words]) == 0
    printed = capsys.readouterr().out
    said = " ".join(printed.split())
    assert '"pickscore" prefers the image that people preferred in 50.0% of 500 decided pairs of Pick-a-Pic v1 test_unique' in said
    assert "The weights here are runs/mine; the published numbers are of the published ones." in said
    row = next(line for line in printed.splitlines() if "ties half right" in line)
    assert row.split()[-1] == "70.5%"
    assert "Published on Pick-a-Pic v1 test_unique: PickScore, arXiv 2305.01569; ties half right, over pairs: PickScore 70.5%" in said
    assert "README of hpsv3 1.0.0; rule not stated (unverified): HPSv3 72.8%, HPS v2 63.8%" in said
    assert max(len(line) for line in printed.splitlines() if str(tmp_path) not in line) <= 80
    page = Page((tmp_path / "out" / "report.html").read_text())
    assert "Published on Pick-a-Pic v1 test_unique" in page.text


def test_embedded_rewards_agree_with_the_world_they_measure(tmp_path, capsys):
    """People who prefer the picture that shows the caption agree with the oracle always, with colorfulness about by chance."""
    prompts = captions.prompts("tuning")[:12]
    pictures = render([Scene(**captions.parse(prompt)) for prompt in prompts])
    pictures = (pictures * 255).round().byte().permute(0, 2, 3, 1).numpy()
    rows = []
    for k, prompt in enumerate(prompts):
        for name, picture in (("w", pictures[k]), ("l", pictures[k - 1])):
            Image.fromarray(picture).save(tmp_path / f"{k}{name}.png")
        rows.append({"prompt": prompt, "chosen": f"{k}w.png", "rejected": f"{k}l.png"})
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = ["--rewards", "oracle", "colorfulness", "--source", str(tmp_path / "pairs.jsonl"), "--output-dir", str(tmp_path / "out")]
    assert main(["evaluate-reward", *words, "--resamples", "200"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert '"oracle" prefers the image that people preferred in 100.0% of 12 decided pairs' in printed
    assert "With 12 prompts the intervals are too narrow" in printed
