"""Options of the command line that change a configuration: ``--train.learning-rate 1e-5``.

tyro takes the options apart and writes the help; every value goes, as text, through the same validation as the file's, so that
there is one set of rules and one kind of message. The options follow the classes named in ``adapter.name``, ``method.name`` and
``scorer.name``.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import field, is_dataclass, make_dataclass
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import tyro
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from tyro.constructors import PrimitiveConstructorSpec

from mmalign import plugins
from mmalign.config import yaml_file
from mmalign.config.called import meant
from mmalign.config.section import Section, item_type, members
from mmalign.errors import UserError

log = logging.getLogger(__name__)

# sections whose keys depend on the name in them
NAMED = ("adapter", "method", "scorer")


LONG = 40
"""Letters of choices that stand beside an option; more stand in its description."""


class _Given(tuple[str, ...]):
    """The words after an option."""


def apply(
    raw: dict[str, Any], kind: type[Section], options: Sequence[str], prog: str, about: str | None = None
) -> tuple[dict[str, Any], set[str]]:
    """The file's mapping with the options laid over it, and the dotted keys that were given. ``about`` stands in the help, above the keys.

    Raises:
        UserError: an unknown option (with the nearest one), a missing or superfluous value.
        SystemExit: ``--help`` was asked for and printed.
    """
    raw = _switched(raw, kind, options)
    if not options:
        return raw, set()
    _refuse_lists_in_pieces(options, kind, raw)
    parsed, rest = tyro.cli(_options(kind, raw), args=list(options), return_unknown_args=True, prog=prog, description=about or kind.__doc__)
    given = dict(_given(parsed))
    if rest:
        raise UserError(_unknown(rest, [_flag(path) for path in _paths(kind, raw)]))
    for path, words in given.items():
        raw = _laid(kind, raw, path, _value(_field(kind, raw, path), words, _flag(path)))
    return raw, {".".join(path) for path in given}


def _refuse_lists_in_pieces(options: Sequence[str], kind: type[Section], raw: dict[str, Any]) -> None:
    """Of an option that is given twice the last one counts; of a list that would lose what was given first."""
    given = [option.partition("=")[0].replace("_", "-") for option in options if option.startswith("--")]
    for path in _paths(kind, raw):
        if given.count(_flag(path)) > 1 and item_type(_field(kind, raw, path)) is not None:
            raise UserError(f"{_flag(path)} is given twice; write all its values after one, as in {_flag(path)} A B")


def _switched(raw: dict[str, Any], kind: type[Section], options: Sequence[str]) -> dict[str, Any]:
    """Another ``name`` on the command line starts its section anew: one method's beta is not another's."""
    for section in NAMED:
        before = raw.get(section) or {}
        before = {"name": before} if isinstance(before, str) else before
        name = _peek(options, f"--{section}.name")
        if section not in kind.model_fields or name is None or not isinstance(before, dict) or name == before.get("name"):
            continue
        _part(kind, section, {"name": name})  # an unknown name is reported before anything else is said
        if left := [f"{section}.{key}" for key in before if key != "name"]:
            log.warning("%s.name is now %s: %s of the file %s not used", section, name, ", ".join(left), "is" if len(left) == 1 else "are")
        raw = {**raw, section: {"name": name}}
    return raw


def _peek(options: Sequence[str], flag: str) -> str | None:
    for index, option in reversed(list(enumerate(options))):
        if option.startswith(f"{flag}="):
            return option.partition("=")[2]
        if option == flag and index + 1 < len(options):
            return options[index + 1]
    return None


def _options(kind: type[Section], raw: Any) -> type:
    """A dataclass with one field per option, nested as the sections are; unset options are None."""
    fields: list[tuple[str, Any, Any]] = []
    for name, info in kind.model_fields.items():
        value = raw.get(name) if isinstance(raw, dict) else None
        if section := _part(kind, name, value):
            nested = _options(section, value)
            fields.append((name, nested, field(default_factory=nested)))
        else:
            fields.append((name, _option(info, value), field(default=None)))
    return make_dataclass(kind.__name__, fields)


def _part(kind: type[Section], name: str, value: Any) -> type[Section] | None:
    try:
        return kind.part(name, value)
    except PydanticCustomError as error:
        raise UserError(f"{name}.name: {error.message()}") from error


def _option(info: FieldInfo, value: Any) -> Any:
    """The annotation from which tyro makes an option: any number of words, kept as they are; the help shows the value in force."""
    shown = info.get_default(call_default_factory=True) if value is None else value
    hint = "(required)" if info.is_required() and value is None else f"(default: {shown if shown not in ([], {}) else 'none'})"
    metavar, text = _metavar(info), info.description or ""
    if len(metavar) > LONG:
        metavar, text = "NAME", f"{text}; one of {metavar.replace('|', ', ')}"
    spec = PrimitiveConstructorSpec(
        nargs="*", metavar=metavar, instance_from_str=_Given, is_instance=lambda _: True, str_from_instance=lambda _: [str(shown)]
    )
    return Annotated[Any, spec, tyro.conf.arg(help=text, help_behavior_hint=hint)]


def _metavar(info: FieldInfo) -> str:
    """What an option takes. That it may be None is said by the description, which tells what that means."""
    if item_type(info) is not None:
        return "VALUE ..."
    literals = [part for part in (info.annotation, *get_args(info.annotation)) if get_origin(part) is Literal]
    choices = [str(choice) for literal in literals for choice in get_args(literal)]
    return "|".join([*choices, *sorted(_word(kind) for kind in members(info.annotation) - {Literal, NoneType})])


def _word(kind: Any) -> str:
    known = {str: "TEXT", float: "NUMBER", int: "INTEGER", bool: "true/false", Path: "PATH", dict: "{KEY: VALUE}"}
    return known.get(kind, getattr(kind, "__name__", str(kind)))


def _given(parsed: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], _Given]]:
    for name, value in vars(parsed).items():
        if isinstance(value, _Given):
            yield (*path, name), value
        elif is_dataclass(value):
            yield from _given(value, (*path, name))


def _paths(kind: type[Section], raw: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name in kind.model_fields:
        value = raw.get(name) if isinstance(raw, dict) else None
        section = _part(kind, name, value)
        yield from _paths(section, value, (*path, name)) if section else [(*path, name)]


def _field(kind: type[Section], raw: Any, path: tuple[str, ...]) -> FieldInfo:
    for name in path[:-1]:
        raw = raw.get(name) if isinstance(raw, dict) else None
        kind = _part(kind, name, raw) or kind
    return kind.model_fields[path[-1]]


def _flag(path: Sequence[str]) -> str:
    return "--" + ".".join(path).replace("_", "-")


def _unknown(rest: Sequence[str], flags: list[str]) -> str:
    word = next((word for word in rest if word.startswith("--")), rest[0]).partition("=")[0]
    if not word.startswith("--"):
        return f"{word!r} on the command line belongs to no option; write --KEY VALUE"
    hint = meant(word, flags) or plugins.nearest(word.replace("_", "-"), flags)
    return f"unknown option {word!r}; {hint if hint.startswith('did') else 'see --help for all of them.'}"


def _value(info: FieldInfo, words: _Given, flag: str) -> Any:
    """What the words after an option mean: text, to be read by the validation, except for None, lists and mappings."""
    kinds = members(info.annotation)
    if NoneType in kinds and len(words) == 1 and words[0].lower() in ("none", "null"):
        return None
    if (item := item_type(info)) is not None:
        return list(words) if members(item) == {str} else [yaml_file.parse(word, flag) for word in words]
    if bool in kinds and not words:
        return True
    if len(words) != 1:
        raise UserError(f"{flag} takes one value, not {len(words)}; put a value with spaces in quotes")
    return words[0] if str in kinds or not kinds & {dict, Any} else yaml_file.parse(words[0], flag)


def _laid(kind: type[Section], raw: dict[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    if len(path) == 1:
        return {**raw, path[0]: value}
    inner = raw.get(path[0]) or {}
    section = _part(kind, path[0], inner) or Section
    if isinstance(inner, str):
        inner = {section.word: inner}
    if not isinstance(inner, dict):
        raise UserError(f"{path[0]} is {inner!r} in the file, it should be a section of keys")
    return {**raw, path[0]: _laid(section, inner, path[1:], value)}
