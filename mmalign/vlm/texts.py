"""Texts as a model's chat takes them: foreign ones without its control tokens, and its first token written once."""

import re
from collections.abc import Mapping
from typing import Any


class Plain:
    """Makes foreign text plain: a space after the first letter of a control token, such as ``<image>``, makes it words.

    Args:
        processor: whose control tokens are meant.
    """

    def __init__(self, processor: Any):
        self._control = re.compile("|".join(map(re.escape, control_tokens(processor))) or r"(?!)")

    def __call__(self, text: str) -> str:
        return self._control.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)

    def turn(self, turn: Mapping[str, Any]) -> dict[str, Any]:
        """A turn of a chat whose texts are plain; places of pictures and films are parts of their own and stay."""
        parts = [part if part["type"] != "text" else {**part, "text": self(part["text"])} for part in turn["content"]]
        return {**turn, "content": parts}


def control_tokens(processor: Any) -> list[str]:
    """What no text of a user or a data set may say, the longest first: special tokens and the places of pictures and films."""
    tokenizer = processor.tokenizer
    special = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    places = [getattr(processor, name, None) for name in ("image_token", "video_token")]
    found = {*special, *tokenizer.all_special_tokens, *(place for place in places if isinstance(place, str))}
    return sorted(found, key=len, reverse=True)


def specials(tokenizer: Any, text: str) -> dict[str, bool]:
    """Arguments for a tokenizer: a template that writes the first token itself would otherwise get it twice."""
    start = tokenizer.bos_token
    return {"add_special_tokens": False} if start and text.startswith(start) else {}
