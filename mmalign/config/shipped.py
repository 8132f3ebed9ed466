"""The configurations that come with the package, by name: what each is for, and the file to start from."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmalign.config import yaml_file
from mmalign.errors import UserError
from mmalign.files import write_whole
from mmalign.plugins import nearest

FOLDER = Path(__file__).parents[1] / "configs"
PRESETS = "memory"
"""The folder of those that are made to fit a GPU: FAMILY_NNgb.yaml."""


@dataclass(frozen=True)
class Shipped:
    """A configuration that comes with the package.

    Attributes:
        name: its path in the folder, without the ending.
        text: the file's content.
    """

    name: str
    text: str

    @property
    def about(self) -> str:
        """What it is: its first line."""
        return self.text.partition("\n")[0].removeprefix("#").strip()

    def said(self, word: str) -> str:
        """What the header says under a word such as Hardware; empty where it does not."""
        lines = [line.removeprefix("#") for line in self.text.splitlines() if line.startswith("#")]
        start = next((place for place, line in enumerate(lines) if line.strip().startswith(f"{word}:")), None)
        if start is None:
            return ""
        more = []
        for line in lines[start + 1 :]:
            if re.match(r" ?[A-Z]\w+:", line) or not line.strip():
                break
            more.append(line.strip())
        return " ".join([lines[start].partition(":")[2].strip(), *more])

    @property
    def values(self) -> dict[str, Any]:
        """What it sets."""
        return yaml_file.parse(self.text, self.name) or {}

    @property
    def method(self) -> str:
        """The method's name; empty where nothing is trained."""
        method = self.values.get("method") or ""
        return method.get("name", "") if isinstance(method, dict) else method

    @property
    def family(self) -> str:
        """What is trained or made: a family of image generators, or a word for the kind."""
        values = self.values
        if self.name.startswith("vlm/data/"):
            return "vlm data"
        if "scorer" in values:
            return "scorer"
        if "vlm" in values:
            return "vlm"
        model = values.get("model")
        if not isinstance(model, dict):
            return "data"
        return model.get("family") or str(model.get("pretrained", "")).removeprefix("shapes/").partition("_")[0]

    @property
    def memory(self) -> int | None:
        """The GPU's memory that it is made for, in GB; None = it is no preset."""
        found = re.fullmatch(rf"{PRESETS}/\w+_(\d+)gb", self.name)
        return int(found[1]) if found else None


def shipped() -> list[Shipped]:
    """All of them, by name."""
    paths = sorted(FOLDER.rglob("*.yaml"))
    if not paths:
        raise UserError(f"there are no configurations at {FOLDER}; install mmalign anew")
    return [Shipped(path.relative_to(FOLDER).with_suffix("").as_posix(), path.read_text(encoding="utf-8")) for path in paths]


def find_shipped(name: str) -> Shipped:
    """One of them. Raises UserError where there is none of that name, with the nearest."""
    known = {one.name: one for one in shipped()}
    asked = asked_for(name)
    if asked in known:
        return known[asked]
    families = {one.family: one for one in known.values()}
    if asked in families:
        sized = any(one.family == asked and one.memory is not None for one in known.values())
        preset = "add --memory GB for a preset, or choose one of" if sized else "choose one of"
        raise UserError(f"{name!r} is a family, not a configuration; {preset} `mmalign configs list --family {asked}`")
    meant = nearest(asked, list(known))
    hint = meant if meant.startswith("did") else "`mmalign configs list` shows those there are"
    raise UserError(f"no configuration is called {name!r}; {hint}")


def asked_for(name: str) -> str:
    """The name of a configuration, from that or from a path that it may have in a clone."""
    return name.rpartition("configs/")[2].removesuffix(".yaml")


def preset(family: str, memory: int) -> Shipped:
    """The preset of a family for the largest GPU that has no more memory, in GB, than this.

    Raises:
        UserError: there is none for this family, or none so small.
    """
    known = {one.memory: one for one in shipped() if one.memory is not None and one.family == family}
    if not known:
        there = sorted({one.family for one in shipped() if one.memory is not None})
        others = f"`mmalign configs list --family {family}` shows what its configurations need"
        raise UserError(f"there is no preset for {family!r}, only for {', '.join(there)}; {others}")
    fits = [size for size in known if size <= memory]
    if not fits:
        raise UserError(f"no preset for {family} fits into {memory} GB; the smallest is for {min(known)} GB")
    return known[max(fits)]


def copy_shipped(one: Shipped, place: Path) -> None:
    """Writes the file to edit. Raises UserError where something is there already."""
    if place.exists():
        raise UserError(f"{place} is there already; give another place, or remove it")
    write_whole(place, one.text.encode())
