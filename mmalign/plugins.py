"""Plug-ins by name: the file is the registry.

A plug-in is a module with a constant ``PLUGIN`` that holds its class. ``load("mmalign.rewards", "oracle")`` gives the class in
``mmalign/rewards/oracle.py``; a dotted name gives the class in any importable module, so that a third party adds a method, a family
or a reward without touching this repository.
"""

import ast
import difflib
import importlib
import importlib.machinery
import importlib.util
import inspect
import pkgutil
from pathlib import Path
from typing import Any

from mmalign.errors import UserError


def names(package: str) -> list[str]:
    """The plug-ins in a package, sorted: its public modules. None of them is imported."""
    return sorted(module.name for module in pkgutil.iter_modules(_folders(package)) if not module.name.startswith("_"))


def first_line(package: str, name: str) -> str:
    """What a plug-in is, in the first line of its file; the file is read, not imported."""
    spec = importlib.machinery.PathFinder.find_spec(name, _folders(package))
    source = "" if spec is None or spec.origin is None else Path(spec.origin).read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def nearest(word: str, known: list[str]) -> str:
    """A half sentence that suggests what was meant, or lists what there is."""
    close = difflib.get_close_matches(word, known, n=2, cutoff=0.5)
    if not close:
        return f"there are: {', '.join(known)}."
    # of two that are as near, neither is left out
    near = [difflib.SequenceMatcher(None, name, word).ratio() for name in close]
    meant = sorted(close) if near[0] == near[-1] else close[:1]
    return f"did you mean {' or '.join(map(repr, meant))}?"


def load(package: str, name: str) -> Any:
    """The class of a plug-in.

    Raises:
        UserError: there is no module of that name, or it has no ``PLUGIN``; the message names the nearest one.
    """
    kind = package.rsplit(".", 1)[-1]
    dotted = name if "." in name else f"{package}.{name}"
    if importlib.util.find_spec(package) is None or not _exists(dotted):
        raise UserError(f"unknown name {name!r} among {kind}; {_meant(name, package)}")
    module = importlib.import_module(dotted)
    if not hasattr(module, "PLUGIN"):
        raise UserError(f"module {dotted!r} is no plug-in for {kind}: it has no constant PLUGIN that holds its class")
    return module.PLUGIN


def _meant(name: str, package: str) -> str:
    known = names(package)
    parts = name.replace(",", " ").split()
    if len(parts) > 1 and set(parts) <= set(known):
        return f"these are several, write them apart: {' '.join(parts)}"
    if "." not in name and _is_plugin(name):
        return f"a module of your own is named with a dot: put {name}.py into a folder, and write FOLDER.{name}"
    return nearest(name, known)


def build(package: str, name: str, fields: dict[str, Any]) -> Any:
    """An instance of a plug-in's class.

    Raises:
        UserError: unknown plug-in, or a field it does not have; the message names the nearest one.
    """
    plugin = load(package, name)
    known = [p.name for p in inspect.signature(plugin).parameters.values() if p.kind is not p.VAR_KEYWORD]
    for field in fields:
        if field not in known:
            raise UserError(f"{name!r} has no field {field!r}; {nearest(field, known)}")
    return plugin(**fields)


def _folders(package: str) -> list[str]:
    spec = importlib.util.find_spec(package)
    return [] if spec is None else list(spec.submodule_search_locations or [])


def _is_plugin(module: str) -> bool:
    """Whether a module that is in no package has a plug-in, as far as its text tells."""
    spec = importlib.machinery.PathFinder.find_spec(module)
    return spec is not None and spec.origin is not None and spec.origin.endswith(".py") and "PLUGIN" in Path(spec.origin).read_text()


def _exists(dotted: str) -> bool:
    try:
        return importlib.util.find_spec(dotted) is not None
    except (ModuleNotFoundError, ValueError):
        return False
