"""`mmalign data mia`: files that training reads, the same after a kill and by two processes; the report; the published form."""

import json

import pytest

from mmalign.cli import main
from mmalign.config import MiaConfig, from_mapping
from mmalign.data.responses import load_responses
from mmalign.errors import UserError
from mmalign.factory.mia.run import run
from mmalign.images import open_image
from mmalign.resumable.shard_folder import ShardFolder
from tests import tiny_vlms
from tests.factory.conftest import contents
from tests.factory.mia.asked import questions
from tests.forked import shared
from tests.pages import Page

OPEN = {"min_perplexity": None, "max_length_ratio": None, "min_edit_distance": 0.0, "max_new_tokens": 3}
KINDS = {"sequence": {2: 1, 3: 1}, "pic_in_pic": {2: 1}}
LIMITS = {"kinds": KINDS, "thresholds": {"sequence": {2: 0.5, 3: 0.3}, "pic_in_pic": {2: 0.45}}}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_vlms.make("llava", tmp_path_factory.mktemp("models") / "llava")


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Six questions about pictures in files."""
    folder = tmp_path_factory.mktemp("asked")
    rows = questions(6)
    for row in rows:
        row.images[0].save(folder / f"{row.name}.png")
    lines = [json.dumps({"id": r.name, "image": f"{r.name}.png", "question": f"<image>\n{r.question}", "answer": r.answer}) for r in rows]
    (folder / "rows.jsonl").write_text("\n".join(lines))
    return folder / "rows.jsonl"


@pytest.fixture
def configured(model, asked, tmp_path):
    def make(**changes):
        given = {"vlm": {"pretrained": str(model)}, "data": {"source": str(asked)}, "out": str(tmp_path / "mia"), **LIMITS}
        return from_mapping({**given, **OPEN, "batch_size": 2, "shard_size": 3, **changes}, MiaConfig)

    return make


@pytest.fixture(scope="module")
def whole(model, asked, tmp_path_factory):
    """The files of a run that nobody stopped, and what it said."""
    out = tmp_path_factory.mktemp("whole") / "mia"
    given = {"vlm": {"pretrained": str(model)}, "data": {"source": str(asked)}, "out": str(out), **LIMITS}
    said = run(from_mapping({**given, **OPEN, "batch_size": 2, "shard_size": 3, "export": str(out.parent / "published")}, MiaConfig))
    return out, said


def test_training_reads_what_is_written(whole, asked):
    out, said = whole
    examples = load_responses("auto", str(out))
    facts = json.loads(out.with_name("mia.json").read_text())
    assert len(examples) == facts["kept"] > 0
    assert facts["prompts"] == 12
    assert f"kept {facts['kept']} of 12 answers" in said
    answers = {json.loads(line)["answer"] for line in asked.read_text().splitlines()}
    for example in examples:
        assert example.responses[0] in answers
        assert example.responses[0] != example.responses[1]
        text = "".join("<image>" if part["type"] == "image" else part["text"] for part in example.turns[0]["content"])
        assert text.startswith("Image1:<image>\nImage2:<image>\n" if len(example.images) > 1 else "<image>\n")


def test_the_published_form_says_the_same(whole):
    out, _ = whole
    rows = load_responses("auto", str(out))
    published = load_responses("auto", str(out.parent / "published" / "mia_dpo.json"))
    assert type(published.reader).__name__ == "MiaDpo"
    assert len(rows) == len(published)
    for one, other in zip(rows, published, strict=True):
        assert (one.turns, one.responses) == (other.turns, other.responses)
        assert [open_image(image).tobytes() for image in one.images] == [open_image(image).tobytes() for image in other.images]
    assert set(json.loads((out.parent / "published" / "mia_dpo.json").read_text())[0]) == {
        "id",
        "image",
        "prompt",
        "chosen",
        "rejected",
        "gt",
    }


def test_the_report_shows_what_was_kept_and_what_was_not(whole):
    out, _ = whole
    facts, page = json.loads(out.with_name("mia.json").read_text()), Page(out.with_name("mia.html").read_text())
    assert f"{facts['kept']} of 12 answers are kept" in page.text
    for reason, count in facts["left_out"].items():
        assert reason in page.text
        assert count > 0
    assert "Left out: looked at the right picture" in page.text
    assert sum(tag == "img" for tag, _ in page.tags) == 12


def test_a_run_that_was_stopped_goes_on_to_the_same_files(configured, whole, monkeypatch):
    write = ShardFolder.write

    def stop(self, number, table):
        if number == 1:
            raise KeyboardInterrupt
        write(self, number, table)

    with monkeypatch.context() as patch:
        patch.setattr(ShardFolder, "write", stop)
        with pytest.raises(KeyboardInterrupt, match="4 of 12 prompts are answered and saved"):
            run(configured())
    with pytest.raises(UserError, match="max_new_tokens was 3 and is 2"):
        run(configured(max_new_tokens=2))
    numbers = []
    monkeypatch.setattr(ShardFolder, "write", lambda self, number, table: numbers.append(number) or write(self, number, table))
    run(configured())
    assert numbers == [1, 2]
    assert without_settings(configured().out) == without_settings(whole[0])


def test_two_processes_make_the_files_that_one_makes(configured, whole):
    shared(lambda rank: run(configured()))
    assert without_settings(configured().out) == without_settings(whole[0])


def without_settings(out):
    return {name: content for name, content in contents(out).items() if "settings" not in name}


def test_the_command_line_takes_layouts(model, asked, tmp_path, capsys):
    options = [word for key, value in OPEN.items() for word in (f"--{key.replace('_', '-')}", "none" if value is None else str(value))]
    words = ["--vlm.pretrained", str(model), "--data.source", str(asked), "--data.limit", "3", "--out", str(tmp_path / "mia"), *options]
    assert main(["data", "mia", *words, "--kinds", "{collage: {2: 1}}"]) == 0
    assert "collage         2        3" in capsys.readouterr().out


def test_where_nothing_is_kept_the_reasons_are_said_and_the_report_stays(configured):
    with pytest.raises(UserError, match=r"none of 12 answers is kept: looked at the right picture \(\d+\)"):
        run(configured(thresholds={"sequence": {2: 0, 3: 0}, "pic_in_pic": {2: 0}}))
    assert not configured().out.exists()
    assert configured().out.with_name("mia.html").exists()
