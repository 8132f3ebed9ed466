"""`mmalign data rrpo` on clips of the embedded world: rows that training reads, the same after a stop, and the report."""

import json
from pathlib import Path
from random import Random

import pytest

from mmalign.cli import main
from mmalign.config import RrpoConfig, from_mapping
from mmalign.data.responses import load_responses
from mmalign.errors import UserError
from mmalign.factory.rrpo.run import run
from mmalign.resumable.shard_folder import ShardFolder
from mmalign.shapes.questions import CLIP, about_clip, clip
from mmalign.shapes.scene import every_scene
from mmalign.vlm.encode import Response
from tests import tiny_vlms
from tests.factory.conftest import contents
from tests.factory.mia.asked import picture
from tests.forked import shared
from tests.pages import Page
from tests.vlm.models import build

SETTINGS = {"open_answers": "differs", "max_new_tokens": 6, "batch_size": 2, "shard_size": 3, "image_format": "png"}


@pytest.fixture(scope="module", params=["llava", "qwen2_5_vl"])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def given(name, tmp_path_factory):
    """A model, and six clips as folders of frames with questions about them: films to one family, pictures to the other."""
    folder, draw = tmp_path_factory.mktemp(name), Random(0)
    lines = []
    for number, scene in enumerate(draw.sample(list(every_scene()), 6)):
        asked = about_clip(clip(scene, 4, draw), CLIP[number % len(CLIP)])
        (folder / str(number)).mkdir()
        for place, frame in enumerate(asked.scenes):
            picture(frame).save(folder / str(number) / f"{place}.png")
        lines.append(json.dumps({"id": str(number), "question": f"<image>\n{asked.text}", "answer": asked.answer, "video": str(number)}))
    (folder / "rows.jsonl").write_text("\n".join(lines))
    return {"vlm": {"pretrained": str(tiny_vlms.make(name, folder / "model"))}, "data": {"source": str(folder / "rows.jsonl")}}


@pytest.fixture(scope="module")
def whole(given, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "rrpo"
    run(from_mapping({**given, **SETTINGS, "out": str(out)}, RrpoConfig))
    return out


def test_training_reads_the_clean_films_and_the_phrases(whole, name, given):
    facts, examples = json.loads(whole.with_name("rrpo.json").read_text()), load_responses("auto", str(whole))
    assert type(examples.reader).__name__ == "Rrpo"
    assert len(examples) == facts["kept"] > 0
    assert facts["kept"] + sum(facts["left_out"].values()) == facts["rows"] == 6
    for example in examples:
        assert all(example.phrases)
        assert example.videos[0].is_dir()
        assert [part["type"] for part in example.turns[0]["content"]] == ["video", "text"]


def test_phrases_reach_the_tokens(whole, name):
    vlm, example = build(name), load_responses("auto", str(whole))[0]
    shown = vlm.policy.family.films(4)(example.turns, (), example.videos)
    responses = [Response(*each) for each in zip(example.responses, example.phrases, strict=True)]
    encoded = vlm.encoder(shown.turns, responses, shown.images, **shown.given)
    assert all((phrases > 0).any() for phrases in encoded.phrases)
    assert len(encoded.spans) == (4 if name == "llava" else 1)


def test_pictures_stay_pictures(given, tmp_path):
    rows = [json.loads(line) for line in Path(given["data"]["source"]).read_text().splitlines()[:2]]
    folder = Path(given["data"]["source"]).parent
    told = [
        {
            "question": f"Image1:<image>\nImage2:<image>{row['question'][7:]}",
            "answer": row["answer"],
            "pred": "it flies",
            "images": [str(folder / row["video"] / f"{place}.png") for place in (0, 3)],
        }
        for row in rows
    ]
    (tmp_path / "rows.json").write_text(json.dumps(told))
    run(from_mapping({"data": {"source": str(tmp_path / "rows.json")}, "out": str(tmp_path / "rrpo")}, RrpoConfig))
    example = load_responses("auto", str(tmp_path / "rrpo"))[0]
    assert [part["type"] for part in example.turns[0]["content"]] == ["text", "image", "text", "image", "text"]
    assert len(example.images) == 2


def test_the_report_shows_frames_and_phrases(whole):
    facts, page = json.loads(whole.with_name("rrpo.json").read_text()), Page(whole.with_name("rrpo.html").read_text())
    assert f"{facts['kept']} of 6 rows have a wrong answer" in page.text
    tags = [tag for tag, _ in page.tags]
    assert tags.count("mark") >= 2 * facts["kept"]
    assert tags.count("img") >= 2 * facts["kept"]


def test_a_stopped_run_goes_on_to_the_same_files(given, whole, tmp_path, monkeypatch):
    config, write = from_mapping({**given, **SETTINGS, "out": str(tmp_path / "rrpo")}, RrpoConfig), ShardFolder.write

    def stop(self, number, table):
        if number == 1:
            raise KeyboardInterrupt
        write(self, number, table)

    with monkeypatch.context() as patch:
        patch.setattr(ShardFolder, "write", stop)
        with pytest.raises(KeyboardInterrupt, match="4 of 6 rows are answered and saved"):
            run(config)
    with pytest.raises(UserError, match="window was 4 and is 2"):
        run(from_mapping({**given, **SETTINGS, "out": str(tmp_path / "rrpo"), "window": 2}, RrpoConfig))
    run(config)
    found = [{name: content for name, content in contents(out).items() if "settings" not in name} for out in (config.out, whole)]
    assert found[0] == found[1]


def test_two_processes_make_the_files_that_one_makes(given, whole, tmp_path):
    config = from_mapping({**given, **SETTINGS, "out": str(tmp_path / "rrpo")}, RrpoConfig)
    shared(lambda rank: run(config))
    found = [{name: content for name, content in contents(out).items() if "settings" not in name} for out in (config.out, whole)]
    assert found[0] == found[1]


def test_the_command_line_takes_wrong_answers_that_are_there(given, tmp_path, capsys):
    rows = [json.loads(line) | {"pred": "it flies away"} for line in Path(given["data"]["source"]).read_text().splitlines()]
    (tmp_path / "rows.json").write_text(json.dumps([row | {"video": str(tmp_path)} for row in rows]))
    picture(next(every_scene())).save(tmp_path / "0.png")
    assert main(["data", "rrpo", "--data.source", str(tmp_path / "rows.json"), "--out", str(tmp_path / "rrpo")]) == 0
    assert "kept 6 of 6 rows" in capsys.readouterr().out
