"""`mmalign evaluate-reward`: what it hands on, and what it says."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from mmalign.cli import main


def test_it_hands_the_configuration_on_and_tells_the_page(monkeypatch, capsys):
    calls = []
    made = ModuleType("run")
    made.run = lambda config: calls.append(config) or Path("out/report.html")
    monkeypatch.setitem(sys.modules, "mmalign.evaluation.agreement.run", made)
    words = ["--rewards", "oracle", "{name: taste, user: bold}", "--source", "HPD/test.json", "--output-dir", "out"]
    words += ["--columns", "{image_folder: pictures, lower_is_better: false}", "--by", "model_0", "model_1", "--limit", "7"]
    assert main(["evaluate-reward", *words]) == 0
    (config,) = calls
    assert [reward.title for reward in config.rewards] == ["oracle", "taste"]
    assert config.columns == {"image_folder": "pictures", "lower_is_better": False}
    assert (config.by, config.limit, config.dataset) == (["model_0", "model_1"], 7, None)
    assert capsys.readouterr().out == "out/report.html\n"


def test_alone_it_shows_how(capsys):
    assert main(["evaluate-reward"]) == 2
    out = capsys.readouterr().out
    assert "usage: mmalign evaluate-reward [CONFIG]" in out
    assert "--benchmark-prompts HPD/benchmark" in out


def test_its_help_lists_every_key(capsys):
    with pytest.raises(SystemExit) as end:
        main(["evaluate-reward", "--help"])
    assert not end.value.code
    out = capsys.readouterr().out
    for key in ("--validation-split", "--dataset", "--thresholds", "--benchmark-images", "--on-broken"):
        assert key in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rewards", "orcale", "--source", "x", "--output-dir", "o"], "unknown name 'orcale' among rewards; did you mean 'oracle'?"),
        (["--rewards", "oracle", "--soure", "x"], "unknown option '--soure'; did you mean '--source'?"),
        (["--rewards", "oracle", "--source", "none.json", "--output-dir", "o"], "none.json does not exist"),
        (["--rewards", "oracle", "--output-dir", "o"], "there is nothing to evaluate on"),
    ],
)
def test_a_mistake_is_one_line(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate-reward", *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err
