"""Names find files, and a wrong name finds its neighbor."""

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from mmalign import plugins
from mmalign.errors import UserError


@dataclass(frozen=True)
class Gadget:
    size: int = 1


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with plug-ins ``round`` and ``square``, a private module, and a module that is no plug-in."""
    folder = tmp_path / "gadgets"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "_private.py").write_text("")
    (folder / "broken.py").write_text("x = 1\n")
    for name in ("round", "square"):
        (folder / f"{name}.py").write_text(
            f"from dataclasses import dataclass\n@dataclass\nclass {name.title()}:\n    size: int = 1\nPLUGIN = {name.title()}\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    yield "gadgets"
    for module in [m for m in sys.modules if m.split(".")[0] == "gadgets"]:
        del sys.modules[module]


def test_names_are_the_public_modules(package):
    assert plugins.names(package) == ["broken", "round", "square"]


def test_a_name_loads_the_class_in_its_file(package):
    assert plugins.load(package, "round").__name__ == "Round"


def test_a_dotted_name_loads_any_module(package, monkeypatch):
    module = ModuleType("elsewhere.gadget")
    module.PLUGIN = Gadget
    module.__spec__ = object()
    monkeypatch.setitem(sys.modules, "elsewhere", ModuleType("elsewhere"))
    monkeypatch.setitem(sys.modules, "elsewhere.gadget", module)
    assert plugins.load(package, "elsewhere.gadget") is Gadget


def test_an_unknown_name_names_the_nearest(package):
    with pytest.raises(UserError, match="unknown name 'rond' among gadgets; did you mean 'round'"):
        plugins.load(package, "rond")


def test_two_names_that_are_as_near_are_both_named():
    assert plugins.nearest("hps", ["aesthetic", "hpsv2", "hpsv3"]) == "did you mean 'hpsv2' or 'hpsv3'?"
    assert plugins.nearest("hpsv", ["hpsv2x", "hpsv3"]) == "did you mean 'hpsv3'?"


@pytest.mark.parametrize("name", ["round,square", "round square", "round, square"])
def test_several_names_in_one_word_are_told_apart(package, name):
    with pytest.raises(UserError, match="these are several, write them apart: round square"):
        plugins.load(package, name)


def test_a_plug_in_that_lies_in_no_package_says_how_to_name_it(package, tmp_path):
    (tmp_path / "oval.py").write_text("class Oval: ...\nPLUGIN = Oval\n")
    with pytest.raises(UserError, match=r"put oval.py into a folder, and write FOLDER.oval"):
        plugins.load(package, "oval")


def test_a_far_name_lists_what_there_is(package):
    with pytest.raises(UserError, match="there are: broken, round, square"):
        plugins.load(package, "zzz")


def test_a_dotted_name_of_nothing_is_an_error_of_the_user(package):
    with pytest.raises(UserError, match="no_such_package"):
        plugins.load(package, "no_such_package.thing")


def test_a_module_without_a_plugin_says_so(package):
    with pytest.raises(UserError, match="no constant PLUGIN"):
        plugins.load(package, "broken")


def test_the_first_line_is_read_without_an_import(package):
    folder = Path(plugins._folders(package)[0])
    (folder / "loud.py").write_text('"""A loud one.\n\nMore."""\nraise RuntimeError("imported")\n')
    assert plugins.first_line(package, "loud") == "A loud one."
    assert plugins.first_line(package, "round") == ""
    assert plugins.first_line(package, "none") == ""


def test_build_passes_the_fields(package):
    assert plugins.build(package, "square", {"size": 3}).size == 3


def test_build_refuses_a_field_that_the_class_lacks(package):
    with pytest.raises(UserError, match="'square' has no field 'sizee'; did you mean 'size'"):
        plugins.build(package, "square", {"sizee": 3})


def test_the_rewards_are_found_through_their_door():
    assert plugins.names("mmalign.rewards") == sorted(plugins.names("mmalign.rewards"))
