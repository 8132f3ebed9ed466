"""A prompt and its responses as tokens, by the model's own processor and chat template.

Prompt and response are tokenized together, as the model will see them, and which tokens are the response's is read from the characters
that each token covers: tokens that melt across the border are found, and nothing is cut. What all responses share at the start is kept
once, so that the model reads it once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmalign.errors import UserError
from mmalign.vlm.texts import Plain, specials

Turn = Mapping[str, Any]
"""A turn of a chat, {"role": ..., "content": [{"type": "text" | "image" | "video", ...}, ...]}, as transformers' templates read it."""

TEXT_OUTPUTS = {"input_ids", "attention_mask", "offset_mapping", "mm_token_type_ids", "text_replacement_offsets", "special_tokens_mask"}


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt with K responses, on the CPU.

    Attributes:
        prefix: (P,), the tokens with which all K sequences begin.
        kinds: (P,), what each of them stands for: 0 text, 1 picture, 2 film.
        responses: K tensors (R_k,), the tokens that follow.
        masks: K tensors (R_k,), whether a token is the response's own, the end of the turn included; it is not where it melted with others.
        phrases: K tensors (R_k,), 0, or the number from 1 on of the marked phrase that a token touches.
        vision: what the vision tower reads, by the names of the model's arguments.
        spans: places (start, stop) in the prefix of each picture's or film's tokens, separators between its parts included.
    """

    prefix: Tensor
    kinds: Tensor
    responses: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]
    phrases: tuple[Tensor, ...]
    vision: Mapping[str, Tensor]
    spans: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        """Tokens in all, the shared ones counted once."""
        return len(self.prefix) + sum(map(len, self.responses))


@dataclass(frozen=True)
class EncodedPrompts:
    """A batch of prompts to be answered, on the CPU.

    Attributes:
        inputs: arguments of the model's ``generate``.
        spans: for each prompt the places (start, stop) of each picture's tokens, padding counted.
    """

    inputs: Mapping[str, Tensor]
    spans: tuple[tuple[tuple[int, int], ...], ...]


@dataclass(frozen=True)
class Response:
    """What may be said after a prompt.

    Attributes:
        text: the response.
        phrases: characters (start, stop) of the phrases that a method looks at by themselves, such as RRPO's, in order.
    """

    text: str
    phrases: tuple[tuple[int, int], ...] = ()


class PromptEncoder:
    """Makes tokens of prompts and responses.

    Args:
        processor: a transformers processor with a chat template and a fast tokenizer.
        through_template: score what the template writes after the end of the turn too, such as a line break, as TRL does; it is never
            generated.

    Raises:
        UserError: the processor has no chat template, or a tokenizer that does not tell which characters a token covers.
    """

    def __init__(self, processor: Any, through_template: bool = False):
        self.processor, self.tokenizer, self.through_template = processor, processor.tokenizer, through_template
        if not getattr(processor, "chat_template", None):
            raise UserError(f"the processor {type(processor).__name__} has no chat template; give an instruction-tuned model")
        if not self.tokenizer.is_fast:
            raise UserError(f"the tokenizer {type(self.tokenizer).__name__} does not tell which characters a token covers; give a fast one")
        self.ends = set(self.tokenizer.all_special_ids)
        self.plain = Plain(processor)

    def __call__(
        self, turns: Sequence[Turn], responses: Sequence[Response], images: Sequence[Any] = (), videos: Sequence[Any] = (), **options: Any
    ) -> EncodedPrompt:
        """Encodes a prompt with its responses; pictures are prepared once.

        Args:
            turns: the chat up to the user's last turn, with a place for each picture and film.
            responses: one or more.
            images: PIL pictures in the order of their places.
            videos: films, as the processor takes them.
            **options: handed to the processor as they are (size, num_frames, fps).

        Raises:
            UserError: a response is empty, holds a place for a picture, or the processor refuses what it is given.
        """
        texts = [self.text(turns, response) for response in responses]
        looked = self._look(texts[0], images, videos, options)
        replaced = looked.pop("text_replacement_offsets", [[]])[0]
        if len(replaced) != len(images) + len(videos):
            kind = type(self.processor).__name__
            raise UserError(f"{kind} does not say where its pictures are among the tokens; update transformers, or choose another model")
        head = self.processor.apply_chat_template(list(turns), add_generation_prompt=True)
        first = (looked["input_ids"], looked["offset_mapping"])
        tokens = [first, *(self._tokens(expanded(text, replaced)) for text in texts[1:])]
        grown = sum(len(part["replacement"]) - (part["span"][1] - part["span"][0]) for part in replaced)
        said = [
            self._said(ids, offsets, text, head, grown, response)
            for (ids, offsets), text, response in zip(tokens, texts, responses, strict=True)
        ]
        shared = min(*(one.first for one in said), _common([one.ids for one in said]))
        numbers = [self._marked(one)[shared:] for one in said]
        kinds = looked.get("mm_token_type_ids") or [0] * len(first[0])
        return EncodedPrompt(
            prefix=torch.tensor(first[0][:shared]),
            kinds=torch.tensor(kinds[:shared]),
            responses=tuple(torch.tensor(one.ids[shared:]) for one in said),
            masks=tuple(number >= 0 for number in numbers),
            phrases=tuple(number.clamp_min(0) for number in numbers),
            vision={name: value for name, value in looked.items() if name not in TEXT_OUTPUTS},
            spans=tuple(_places(first[1], *part["new_span"]) for part in replaced),
        )

    def prompts(
        self, chats: Sequence[Sequence[Turn]], images: Sequence[Sequence[Any]], videos: Sequence[Sequence[Any]] = (), **options: Any
    ) -> "EncodedPrompts":
        """Prompts to be answered, padded on the left.

        Args:
            images: the pictures of each prompt.
            videos: the films of each prompt, as the processor takes them; empty = none has any.
            **options: handed to the processor as they are.

        Raises:
            UserError: the processor refuses what it is given.
        """
        texts = [self.processor.apply_chat_template(list(turns), add_generation_prompt=True) for turns in chats]
        given = {"images": [list(each) for each in images]} if any(images) else {}
        given |= {"videos": [list(each) for each in videos]} if any(map(len, videos)) else {}
        told = {"return_offsets_mapping": True, "return_text_replacement_offsets": True, **specials(self.tokenizer, texts[0])}
        try:
            found = dict(self.processor(text=texts, **given, **told, **options, return_tensors="pt", padding=True, padding_side="left"))
        except ValueError as error:
            raise UserError(f"the processor refuses {len(texts)} prompts ({error}); resize their pictures, or leave rows out") from error
        replaced = found.pop("text_replacement_offsets", [[] for _ in texts])
        offsets = found.pop("offset_mapping").tolist()
        spans = [tuple(_places(row, *part["new_span"]) for part in parts) for row, parts in zip(offsets, replaced, strict=True)]
        return EncodedPrompts(found, tuple(spans))

    def text(self, turns: Sequence[Turn], response: Response) -> str:
        """The whole chat in the model's own template."""
        if not response.text.strip():
            raise UserError("a response is empty; leave the row out, or say what the model should")
        said = {"role": "assistant", "content": [{"type": "text", "text": self.plain(response.text)}]}
        return self.processor.apply_chat_template([*turns, said])

    def _look(self, text: str, images: Sequence[Any], videos: Sequence[Any], options: Mapping[str, Any]) -> dict[str, Any]:
        given = {"images": [list(images)]} if images else {}
        given |= {"videos": [list(videos)]} if videos else {}
        told = {"return_offsets_mapping": True, "return_text_replacement_offsets": True, **specials(self.tokenizer, text)}
        try:
            found = dict(self.processor(text=[text], **given, **told, **options, return_tensors="pt"))
        except ValueError as error:
            raise UserError(
                f"the processor refuses {len(images)} pictures and {len(videos)} films ({error}); resize or leave out"
            ) from error
        return found | {name: found[name][0].tolist() for name in ("input_ids", "offset_mapping", "mm_token_type_ids") if name in found}

    def _tokens(self, text: str) -> tuple[list[int], list[list[int]]]:
        found = self.tokenizer(text, return_offsets_mapping=True, **specials(self.tokenizer, text))
        return found["input_ids"], found["offset_mapping"]

    def _said(self, ids: list[int], offsets: list[list[int]], text: str, head: str, grown: int, response: Response) -> "_Said":
        """Where in a tokenized chat the response is. A template may cut blanks off its ends, and puts blanks before it."""
        plain = self.plain(response.text)
        begin = text.rindex(plain.strip()) + grown
        # what the template leaves to the model, such as a blank before its first word, is the response's too
        start = min(begin, len(head) + grown) if text.startswith(head) else begin
        first = next(i for i, (_, stop) in enumerate(offsets) if stop > start)
        stop, lead = begin + len(plain.strip()), len(plain) - len(plain.lstrip())
        after = next((i for i, (left, _) in enumerate(offsets) if left >= stop and ids[i] in self.ends), len(ids) - 1)
        # a control token that was made plain before a phrase has moved it
        moved = [tuple(begin - lead + len(self.plain(response.text[:place])) for place in phrase) for phrase in response.phrases]
        return _Said(ids, offsets, first, len(ids) if self.through_template else after + 1, moved)

    @staticmethod
    def _marked(said: "_Said") -> Tensor:
        """Of each token: -1 where it is not scored, 0 where it is, k where it touches the k-th phrase."""
        numbers = torch.full((len(said.ids),), -1)
        numbers[said.first : said.stop] = 0
        for number, (left, right) in enumerate(said.phrases, start=1):
            places = range(said.first, said.stop)
            numbers[[i for i in places if said.offsets[i][0] < right and said.offsets[i][1] > left]] = number
        return numbers


@dataclass(frozen=True)
class _Said:
    """A tokenized chat: its tokens, the characters that each covers, which are scored, and the phrases in characters."""

    ids: list[int]
    offsets: list[list[int]]
    first: int
    stop: int
    phrases: list[tuple[int, ...]]


def expanded(text: str, replaced: Sequence[Mapping[str, Any]]) -> str:
    """A chat with its places for pictures written out as they were in another chat with the same prompt."""
    parts, last = [], 0
    for part in replaced:
        start, stop = part["span"]
        parts += [text[last:start], part["replacement"]]
        last = stop
    return "".join([*parts, text[last:]])


def _common(sequences: Sequence[Sequence[int]]) -> int:
    """With how many equal tokens all begin."""
    for place, column in enumerate(zip(*sequences, strict=False)):
        if len(set(column)) > 1:
            return place
    return min(map(len, sequences))


def _places(offsets: Sequence[Sequence[int]], start: int, stop: int) -> tuple[int, int]:
    """The tokens (first, last + 1) that lie within a span of characters."""
    inside = [i for i, (left, right) in enumerate(offsets) if left >= start and right <= stop and right > left]
    return inside[0], inside[-1] + 1
