"""The configurations as an installed package has them, and the command that shows them."""

from pathlib import Path

import pytest

from mmalign.cli import main
from mmalign.config import load_training, yaml_file
from mmalign.config.shipped import FOLDER, Shipped, find_shipped, preset, shipped
from mmalign.errors import UserError

ROOT = Path(__file__).parents[2] / "configs"


def test_they_are_the_files_of_the_folder_at_the_top():
    assert {one.name for one in shipped()} == {path.relative_to(ROOT).with_suffix("").as_posix() for path in ROOT.rglob("*.yaml")}
    assert FOLDER.resolve() == ROOT


def test_the_header_is_read_word_by_word():
    header = ["# What it is.", "#", "# Command:  mmalign train x", "# Hardware: one GPU;", "#           more of it.", "# Cost:     none."]
    text = "\n".join([*header, "", "model:", "  family: sd", ""])
    one = Shipped("x", text)
    assert (one.about, one.said("Command"), one.said("Hardware")) == ("What it is.", "mmalign train x", "one GPU; more of it.")
    assert (one.said("Sources"), one.family, one.method, one.memory) == ("", "sd", "", None)


@pytest.mark.parametrize("one", shipped(), ids=lambda one: one.name)
def test_each_says_what_it_is_for(one):
    assert one.about
    assert one.said("Hardware")
    assert one.family
    assert one.method or one.family in ("data", "vlm data")


def test_presets_say_that_they_were_not_measured_and_load():
    presets = [one for one in shipped() if one.memory is not None]
    assert {(one.family, one.memory) for one in presets} >= {("sdxl", size) for size in (12, 16, 24, 48, 80)} | {
        ("sd3", size) for size in (12, 24, 48)
    }
    for one in presets:
        assert "estimated" in one.said("Cost")
        assert "not measured" in one.said("Cost")
        config = load_training(ROOT / f"{one.name}.yaml")
        assert config.output_dir == Path("runs") / one.name.rpartition("/")[2]


def test_a_preset_is_the_largest_that_fits():
    assert preset("sdxl", 24).name == preset("sdxl", 40).name == "memory/sdxl_24gb"
    with pytest.raises(UserError, match="no preset for sdxl fits into 6 GB; the smallest is for 12 GB"):
        preset("sdxl", 6)
    with pytest.raises(UserError, match="there is no preset for 'sana', only for sd3, sdxl; `mmalign configs list --family sana`"):
        preset("sana", 24)


def test_the_command_lists_shows_and_copies(capsys, tmp_path):
    assert main(["configs", "list", "--method", "mapo", "--family", "sdxl"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in sorted(lines)] == [
        [name, "mapo", "sdxl"] for name in sorted(["sdxl_mapo_full", "sdxl_mapo_lora", "shapes_sdxl_mapo_lora"])
    ]
    assert "one GPU with 40 GB or more" in next(line for line in lines if line.startswith("sdxl_mapo_lora"))
    assert main(["configs", "show", "sdxl", "--memory", "30"]) == 0
    assert capsys.readouterr().out == (ROOT / "memory" / "sdxl_24gb.yaml").read_text()
    place = tmp_path / "mine.yaml"
    assert main(["configs", "copy", "configs/sdxl_mapo_lora.yaml", str(place)]) == 0
    assert yaml_file.read(place) == yaml_file.read(ROOT / "sdxl_mapo_lora.yaml")
    assert main(["configs", "copy", "sdxl", "--memory", "24", str(tmp_path / "preset.yaml")]) == 0
    assert yaml_file.read(tmp_path / "preset.yaml") == yaml_file.read(ROOT / "memory" / "sdxl_24gb.yaml")
    capsys.readouterr()
    assert main(["configs", "copy", "sdxl_mapo_lora", str(place)]) == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "sdxl_mapo_lorra"], "did you mean 'sdxl_mapo_lora'"),
        (["paste"], "there are: list, show, copy"),
        (["list", "--family", "none"], "no configuration fits these options"),
        (["show", "zebra"], "no configuration is called 'zebra'; `mmalign configs list` shows those there are"),
        (["copy", "sdxl"], "'sdxl' is a family, not a configuration; add --memory GB for a preset, or choose one of `mmalign configs list"),
        (["copy", "sana"], "'sana' is a family, not a configuration; choose one of `mmalign configs list --family sana`"),
    ],
)
def test_mistakes_are_sentences(capsys, words, said):
    assert main(["configs", *words]) == 2
    assert said in capsys.readouterr().err
    with pytest.raises(UserError):
        find_shipped("sdxl")


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("configs/sdxl_mapo_lora.yaml", "`mmalign configs copy sdxl_mapo_lora` writes it here"),
        ("memory/sdxl_24gb", "`mmalign configs copy memory/sdxl_24gb` writes it here"),
        ("sdxl", "`mmalign configs list --family sdxl` shows what to start from"),
        ("mine.yaml", "give the path of a YAML file; `mmalign configs list` shows those to start from"),
    ],
)
def test_a_file_that_is_not_there_is_told_where_it_comes_from(tmp_path, monkeypatch, capsys, place, said):
    monkeypatch.chdir(tmp_path)
    assert main(["train", place]) == 2
    assert f"there is no configuration file {place}; {said}" in capsys.readouterr().err
