"""YAML as people mean it: 1e-4 is a number, ``no`` is a word, a date is text, and a key given twice is an error."""

import re
from pathlib import Path
from typing import Any, ClassVar

import yaml

from mmalign.errors import UserError
from mmalign.files import write_whole

_DECIMAL, _POWER = r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)", r"[eE][-+]?[0-9]+"
_RESOLVERS = (
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|None|", [*"~nN", ""]),
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("tag:yaml.org,2002:int", r"[-+]?(0|[1-9][0-9]*)", [*"-+0123456789"]),
    ("tag:yaml.org,2002:float", rf"{_DECIMAL}({_POWER})?|[-+]?[0-9]+{_POWER}|[-+]?\.(inf|Inf)|\.(nan|NaN)", [*"-+.0123456789"]),
    ("tag:yaml.org,2002:merge", r"<<", ["<"]),
)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: ClassVar[dict] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} stands there twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers: ClassVar[dict] = {}

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # without double quotes PyYAML loses the rarer line breaks
        style = '"' if not data.isprintable() else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)


# reader and writer share the rules, so that a text that looks like a number is written in quotes
for _kind in (_Loader, _Dumper):
    for _tag, _pattern, _first in _RESOLVERS:
        _kind.add_implicit_resolver(_tag, re.compile(f"(?:{_pattern})$"), _first)


def parse(text: str, source: str) -> Any:
    """The value of a YAML text. Raises UserError with the line where it cannot be read."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{source}{line}: cannot be read as YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{source}: cannot be read as YAML: {' '.join(str(error).split())}") from error


def _remedy(path: str | Path) -> str:
    """How to come by the file: one that comes with the package is to be copied first."""
    from mmalign.config.shipped import asked_for, shipped

    known = {one.name: one for one in shipped()}
    if (name := asked_for(str(path))) in known:
        return f"`mmalign configs copy {name}` writes it here, to edit and to train"
    if name in {one.family for one in known.values()}:
        return f"`mmalign configs list --family {name}` shows what to start from"
    return "give the path of a YAML file; `mmalign configs list` shows those to start from"


def read(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty mapping.

    Raises:
        UserError: the file is missing, cannot be read, or holds something else.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"there is no configuration file {path}; {_remedy(path)}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the configuration file {path}: {error}") from error
    value = parse(text, str(path))
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UserError(f"{path}: a configuration is a mapping of keys, not a {type(value).__name__}")
    return value


def dump(value: Any) -> str:
    """A value as YAML that ``parse`` reads back as it was."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def write(path: str | Path, value: Any) -> None:
    """Writes a value as a YAML file, whole or not at all."""
    write_whole(path, dump(value).encode())
