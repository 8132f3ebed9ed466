"""HPSv2's benchmark for a folder of pictures: the published summary, and what is said where pictures or prompts are missing."""

import json

import numpy as np
import pytest

from mmalign.cli import main
from mmalign.config import EvaluateRewardConfig, from_mapping
from mmalign.errors import UserError
from mmalign.evaluation.agreement.benchmark import STYLES, Benchmark, summarize
from mmalign.evaluation.agreement.published_benchmark import published_rows
from mmalign.evaluation.agreement.run import evaluate_rewards
from mmalign.evaluation.agreement.table import _benchmark
from tests.pages import Page
from tests.painted import paint


@pytest.fixture
def folders(tmp_path):
    """Two prompts a style; the scores are 10 and 20 in anime, 20 and 30 in concept-art, and so on."""
    for place, style in enumerate(STYLES, 1):
        (tmp_path / "prompts").mkdir(exist_ok=True)
        (tmp_path / "prompts" / f"{style}.json").write_text(json.dumps([f"{style} one", f"{style} two"]))
        for number, score in enumerate((10 * place, 10 * place + 10)):
            paint(tmp_path / "pictures" / style / f"{number:05d}.png", score)
    return tmp_path


@pytest.fixture
def run(folders, painted):
    def evaluate(**keys):
        fixed = {
            "rewards": ["known.painted"],
            "benchmark_images": str(folders / "pictures"),
            "benchmark_prompts": str(folders / "prompts"),
            "output_dir": str(folders / "out"),
        }
        return evaluate_rewards(from_mapping({**fixed, **keys}, EvaluateRewardConfig), progress=False)

    return evaluate


def test_the_published_summary_is_the_mean_of_groups_of_eighty():
    """Two groups of 80 and one of 40, with means 1, 3 and 8: the mean of the groups is 4, and not 3.2, that of all 200."""
    found = summarize("photo", [1.0] * 80 + [3.0] * 80 + [8.0] * 40, 200, 100)
    assert (found.mean, found.images, found.prompts) == (400, 200, 200)
    assert found.std == pytest.approx(100 * np.sqrt((9 + 1 + 16) / 3))


def test_a_picture_without_a_score_is_left_out_as_a_missing_one_is():
    found = summarize("photo", [1.0] * 40 + [float("nan")] + [1.0] * 40 + [3.0] * 80, 161, 1)
    assert (found.mean, found.std, found.images) == (2, 1, 160)
    with pytest.raises(UserError, match="no picture of the style 'photo' has a score; look at the pictures"):
        summarize("photo", [float("nan")], 1, 1)


def test_the_table_of_a_folder(run):
    (found,) = run().benchmarks
    assert [(row.style, row.mean, row.std) for row in found.styles] == [(style, 15 + 10 * k, 0) for k, style in enumerate(STYLES)]
    assert (found.average, found.scale, found.published) == (30, 1, [])
    (hundred,) = run(benchmark_scale=100).benchmarks
    assert (hundred.average, hundred.styles[0].mean) == (3000, 1500)


def test_the_published_generators_stand_below(folders):
    rows = published_rows("hpsv2", {"version": "2.1"})
    found = Benchmark("hpsv2", "mine", 100, [summarize(style, [0.31, 0.32], 2, 100) for style in STYLES], 31.5, rows, "runs/mine.pt")
    lines = _benchmark(found).splitlines()
    said = " ".join(lines[: lines.index("")])
    assert said.startswith("HPSv2's benchmark of generators under 'hpsv2': Mean scores times 100; ± is the standard deviation")
    assert said.endswith("The weights here are runs/mine.pt; the other generators were scored by the published ones.")
    table = lines[lines.index("") + 1 :]
    assert table[0].split() == ["generator", *STYLES, "average"]
    assert [line.split() for line in table[2:4]] == [["mine", *["31.50"] * 5], ["±", *["0.00"] * 4]]
    assert table[4].split()[-5:] == ["33.26", "32.07", "31.63", "28.38", "31.34"]
    assert len(table) == 4 + 22
    assert max(map(len, lines)) <= 80


def test_scores_without_the_published_scale_keep_the_digits_that_count():
    found = Benchmark("clip_score", "f" * 40, 1, [summarize(style, [0.31234567, 0.3], 2, 1) for style in STYLES], 0.0311234, [])
    row = next(line for line in _benchmark(found).splitlines() if line.startswith("..."))
    assert row.split() == ["..." + "f" * 25, *["0.3062"] * 4, "0.03112"]


def test_hpsv2s_scores_are_shown_times_a_hundred(run, painted, in_place_of):
    """Under the plug-in's name, whatever its class, the scale is the published one and the published rows stand below."""

    class Versioned(painted):
        def __init__(self, version: str = "2.1"):
            super().__init__()

    in_place_of("hpsv2", Versioned)
    (found,) = run(rewards=["hpsv2"]).benchmarks
    assert (found.scale, found.average) == (100, 3000)
    assert found.published[0][0] == "SDXL Refiner 0.9"
    (old,) = run(rewards=[{"name": "hpsv2", "version": "2.0"}]).benchmarks
    assert old.published[0][0] == "Dreamlike Photoreal 2.0"
    (plain,) = run(rewards=["hpsv2"], benchmark_scale=1).benchmarks
    assert (plain.average, plain.published) == (30, [])  # published numbers are times 100


def test_jpg_is_looked_for_first(folders, run):
    for style in STYLES:
        paint(folders / "pictures" / style / "00000.jpg", 0)
    (found,) = run().benchmarks
    assert found.styles[0].mean == 10  # (0 + 20) / 2


def test_a_missing_picture_stops_the_run_or_is_counted(folders, run):
    (folders / "pictures" / "photo" / "00001.png").unlink()
    with pytest.raises(UserError) as caught:
        run()
    assert str(caught.value) == (
        f"{folders / 'pictures' / 'photo' / '00001.jpg'} (prompt 1 of photo.json) cannot be read as an image (there is no such file); "
        "replace it, or leave such rows out with on_broken='skip'"
    )
    (found,) = run(on_broken="skip").benchmarks
    assert [(row.images, row.mean) for row in found.styles][-1] == (1, 40)
    assert found.average == np.mean([10, 20, 20, 30, 30, 40, 40])
    assert "1 of 8 pictures have no score and count nowhere." in " ".join(_benchmark(found).split())


def break_prompts(folders, text):
    (folders / "prompts" / "photo.json").write_text(text)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda f: (f / "pictures" / "photo").rename(f / "pictures" / "photos"), "has no folder 'photo'; did you mean 'photos'"),
        (lambda f: (f / "pictures").rename(f / "p"), r"there is no folder .*pictures; give HPDv2's folder benchmark for the prompts"),
        (lambda f: (f / "prompts" / "photo.json").unlink(), r"cannot read the prompts .*photo.json: No such file or directory; download"),
        (lambda f: break_prompts(f, "["), r"photo.json is not JSON \(.*\); download benchmark/photo.json of HPDv2 again"),
        (lambda f: break_prompts(f, '[{"prompt": "a"}]'), "photo.json is no list of texts; give benchmark/photo.json of HPDv2"),
        (lambda f: break_prompts(f, "[]"), "photo.json is no list of texts"),
    ],
)
def test_what_is_missing_is_a_sentence(folders, run, damage, sentence):
    damage(folders)
    with pytest.raises(UserError, match=sentence):
        run()


def test_pictures_without_any_folder_are_a_sentence(folders, run):
    (folders / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty has no folder 'anime'; it has no folders\."):
        run(benchmark_images=str(folders / "empty"))


def test_the_command_prints_and_writes_the_table(folders, painted, capsys):
    words = ["--rewards", "known.painted", "--benchmark-images", str(folders / "pictures")]
    words += ["--benchmark-prompts", str(folders / "prompts"), "--output-dir", str(folders / "out")]
    assert main(["evaluate-reward", *words]) == 0
    printed = capsys.readouterr().out
    own, spread = (line.split() for line in printed.splitlines() if line.startswith(("...", "  ±")))
    assert own[1:] == ["15", "25", "35", "45", "30"]
    assert spread == ["±", "0", "0", "0", "0"]
    record = json.loads((folders / "out" / "report.json").read_text())
    assert record["judgments"] is None
    assert record["benchmarks"][0]["average"] == 30
    page = Page((folders / "out" / "report.html").read_text())
    assert "HPSv2's benchmark of generators under known.painted" in page.text
    assert "anime 2 of 2" in page.text
