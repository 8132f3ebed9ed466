"""A failed validation as one sentence: where, which key, what stands there, what was expected."""

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

COMMAND_LINE = "command line"
"""Where a key comes from that stands in no file."""
# unknown keys first: a mistyped key is also a missing one
_ORDER = ("unknown_key", "named")


def sentence(error: ValidationError, origin: Callable[[str], str]) -> str:
    """The first thing that is wrong, and how many more there are.

    Args:
        error: what pydantic says.
        origin: the place a dotted key came from, "cfg.yaml" or ``COMMAND_LINE``.
    """
    details = sorted(error.errors(), key=lambda e: _ORDER.index(e["type"]) if e["type"] in _ORDER else len(_ORDER))
    key = dotted(details[0])
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    where = origin(key)
    remedy = _remedy(key, where) if details[0]["type"] == "missing" else ""
    return f"{where}: {_tell(details[0], key)}{remedy}{more}"


def dotted(error: ErrorDetails) -> str:
    """The key of an error: ``train.learning_rate``, ``rewards[1].name``."""
    key = ""
    for part in error["loc"]:
        key += f"[{part}]" if isinstance(part, int) else f".{part}"
    extra = {"unknown_key": error.get("ctx", {}).get("key"), "named": "name"}.get(error["type"]) or ""
    return f"{key}.{extra}".strip(".")


def _tell(error: ErrorDetails, key: str) -> str:
    context = error.get("ctx", {})
    match error["type"]:
        case "unknown_key":
            return f"unknown key {key!r}; {context['hint']}"
        case "missing":
            return f"the key {key!r} is missing"
        case "named":
            return f"{key}: {error['msg']}"
        case "value_error":
            return f"{key}: {context['error']}" if key else str(context["error"])
    return f"{key} is {_shown(error['input'])}, {_expected(error)}"


def _remedy(key: str, where: str) -> str:
    """How to give a key that is missing."""
    if key.endswith("].name"):
        return "; write {name: NAME, KEY: VALUE}, with a space after each colon"
    return f"; give --{key.replace('_', '-')}" if where == COMMAND_LINE and "[" not in key else "; add it"


def _expected(error: ErrorDetails) -> str:
    match error["type"]:
        case "model_type" | "model_attributes_type" | "dict_type":
            return "it should be a section of keys"
        case "string_type":
            return "it should be a text (put it in quotes)"
        case "too_short":
            return f"it should have {error['ctx']['min_length']} or more"
        case "list_type":
            return f"it should be a valid list, as in [{error['input']}]"
        case "bool_parsing" | "bool_type":
            return "it should be true or false"
        case "literal_error":
            return f"it should be {error['ctx']['expected']}"
    return error["msg"].split(", unable")[0].replace("Input should", "it should").replace("List should", "the list should")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
