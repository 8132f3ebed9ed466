"""Views as the query string of a link: short words, lists with commas, and nothing that is as it would be anyway."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from mmalign.compare.seeds import read_seeds, write_seeds
from mmalign.errors import UserError

LONGEST = 16_384
"""Characters of a link; servers take fewer."""


def written(said: Mapping[str, Any]) -> str:
    """The query string, without its question mark, of what a view says."""
    words: dict[str, str] = {}
    for name, value in said.items():
        word, write, _ = WORDS[name]
        words[word] = write(value)
    return urlencode(words, quote_via=quote, safe=":,/")


def read(query: str | Mapping[str, str]) -> dict[str, Any]:
    """What a query string says of a view. Raises UserError where a word of ours cannot be read."""
    if isinstance(query, str):
        if len(query) > LONGEST:
            raise UserError(f"this link has {len(query)} characters; {LONGEST} are the most here")
        query = dict(parse_qsl(query.removeprefix("?"), keep_blank_values=True))
    names, values = {word: name for name, (word, _, _) in WORDS.items()}, {}
    for word, text in query.items():
        if word in names and text:
            values[names[word]] = _value(word, text, WORDS[names[word]][2])
    return values


def _value(word: str, text: str, reader: Callable[[str], Any]) -> Any:
    try:
        return reader(text)
    except ValueError as error:
        raise UserError(f"this link says {word}={text[:60]}, which cannot be read; correct it or leave it out") from error


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def _shares(text: str) -> dict[str, float]:
    """``ann:0.3,ben:0.7`` as numbers by name."""
    return {name: float(number) for name, _, number in (part.rpartition(":") for part in _names(text))}


def _written_shares(shares: Mapping[str, float]) -> str:
    return ",".join(f"{name}:{_short(number)}" for name, number in shares.items())


def _short(number: float) -> str:
    """A number in as few characters as tell it exactly."""
    return text if float(text := f"{number:g}") == number else repr(number)


def read_user(text: str) -> str | dict[str, float]:
    """A person's name, or a mixture such as ``ann:0.3,ben:0.7``. Raises ValueError where it is neither."""
    return _shares(text) if ":" in text else text


def written_user(user: str | Mapping[str, float]) -> str:
    """A person as ``read_user`` reads it."""
    return user if isinstance(user, str) else _written_shares(user)


WORDS: Mapping[str, tuple[str, Callable[[Any], str], Callable[[str], Any]]] = {
    "prompt": ("prompt", str, str),
    "negative_prompt": ("not", str, str),
    "seeds": ("seeds", write_seeds, read_seeds),
    "steps": ("steps", str, int),
    "guidance": ("guidance", _short, float),
    "width": ("width", str, int),
    "height": ("height", str, int),
    "models": ("models", ",".join, _names),
    "scales": ("scales", _written_shares, _shares),
    "rewards": ("rewards", ",".join, _names),
    "user": ("user", written_user, read_user),
    "frames": ("frames", str, int),
}
"""By field of a view: its word in a link, how it is written, and how it is read."""
