"""The pages on delivery, SDXL and the papers: their commands exist, their options are known, their numbers are those of the results."""

import re
import shlex
from pathlib import Path

import pytest

from mmalign import plugins
from mmalign.cli import COMMANDS
from mmalign.cli.commands import export, push
from mmalign.config import EvaluateConfig, PairsConfig, load_config, load_training
from mmalign.config.shipped import find_shipped, preset
from mmalign.delivery.places import LAYOUTS

ROOT = Path(__file__).parents[2]
PAGES = {name: (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("delivery", "sdxl_24gb", "papers")}
RESULTS = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands():
    """(page, words) of every line in a block that starts with mmalign."""
    for name, page in PAGES.items():
        for block in re.findall(r"```\n(.*?)```", page, re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("mmalign "):
                    yield pytest.param(shlex.split(line, comments=True)[1:], id=f"{name}: {line[:60]}")


@pytest.mark.parametrize("words", commands())
def test_every_command_exists_and_takes_its_options(words, tmp_path):
    command, *rest = words
    assert command in COMMANDS
    if command == "export":
        export._parser().parse_args(rest)
    elif command == "push":
        push._parser().parse_args(rest)
    elif command == "train":
        mine = tmp_path / "mine.yaml"
        mine.write_text(preset("sdxl", 24).text)
        load_training(mine, [word for word in rest[1:] if word != "--dry-run"])
    elif command in ("pairs", "evaluate"):
        load_config(None, rest, {"pairs": PairsConfig, "evaluate": EvaluateConfig}[command])
    else:
        assert command in ("configs", "demo", "data", "doctor")


def test_the_page_of_delivery_names_every_form():
    for form in export.FORMS:
        assert f"| `{form}` |" in PAGES["delivery"]
    assert {"sdxl", "sd3", "flux"} <= {layout.__name__.replace("sgm", "sdxl") for layout in LAYOUTS.values()}


def test_every_method_is_with_its_paper():
    lines = [line for line in PAGES["papers"].splitlines() if line.startswith("| `")]
    for name in plugins.names("mmalign.objectives"):
        paper = getattr(plugins.load("mmalign.objectives", name), "paper", None)
        own = [line for line in lines if f"`{name}`" in line.split("|")[1]]
        assert own, name
        assert paper is None or any(paper.place in line for line in own), name


def test_every_configuration_that_is_named_exists():
    lines = [line.split("|") for line in PAGES["papers"].splitlines() if line.startswith("| `") and line.count("|") > 4]
    named = {name for line in lines for name in re.findall(r"`([\w/]+)`", line[3])}
    assert len(named) > 40
    for name in named:
        assert find_shipped(name).about


def measured_of(cells):
    """(method, win rate and interval under the oracle, rate under the witness) that a cell of the index names."""
    named = "online_dpo" if "`online`" in cells[1] else re.search(r"`(\w+)`", cells[1])[1]
    for part in re.split(r"\. (?=`)", cells[0]):
        if found := re.search(r"(?:`(\w+)`: )?([\d.]+ \([^)]*\)); ([\d.]+)", part):
            yield found[1] or named, found[2], found[3]


def test_each_methods_own_numbers_are_those_of_the_readmes_table():
    table = re.findall(r"^\| `(sdxl|sd3)` \| `(\w+)` \| [\d, ]+ \| \**([\d.]+ \([^)]*\))\** \| \**([\d.]+) ", README, re.MULTILINE)
    known = {(base, method): (rate, witness) for base, method, rate, witness in table}
    rows = [line.split("|") for line in PAGES["papers"].splitlines() if line.startswith("| `") and line.count("|") == 7]
    said = {
        (base, method): (rate, witness)
        for row in rows
        for base, column in (("sdxl", 5), ("sd3", 6))
        for method, rate, witness in measured_of((row[column], row[1]))
    }
    assert len(said) > 25
    assert said == {key: known[key] for key in said}


def test_what_was_measured_stands_in_the_readme_or_the_results():
    spans = set(re.findall(r"[+-]?\d+\.\d \([+-]?\d+\.\d to [+-]?\d+\.\d\)", PAGES["papers"]))
    assert len(spans) > 25
    for span in spans:
        assert span in README or span in RESULTS, span
