"""A text model that says in what two answers differ, and writes the right one with these differences put in."""

from collections.abc import Sequence
from typing import Any

import torch

from mmalign.config.rrpo import TextModelConfig
from mmalign.vlm.edits import plain
from mmalign.vlm.load import attempt

DIFFERENCES = """\
A question about a video got two answers.
Question: {question}
Right answer: {right}
Other answer: {said}
In which facts does the other answer contradict the right one? Look at objects, actions, attributes, numbers, places and order, and pass \
over wording that means the same. Write one line for each: the words of the right answer, then ->, then what the other answer says \
instead. If there is no contradiction, write only: None"""
REWRITE = """\
Now write the right answer once more, word for word, but with each of these facts replaced by what the other answer says. Change nothing \
else, and write nothing but the answer."""

Turns = list[dict[str, str]]


class Rewriter:
    """A chat model of transformers, asked greedily.

    Args:
        model: an AutoModelForCausalLM.
        tokenizer: its tokenizer, with a chat template.
        max_new_tokens: length of what it writes.
    """

    def __init__(self, model: Any, tokenizer: Any, max_new_tokens: int = 256):
        self.model, self.tokenizer, self.max_new_tokens = model, tokenizer, max_new_tokens

    def __call__(self, asked: Sequence[tuple[str, str, str]]) -> list[str | None]:
        """For each question, right answer and other answer the wrong answer in the words of the right one; None where they agree."""
        first: list[Turns] = [
            [{"role": "user", "content": DIFFERENCES.format(question=question, right=right, said=said)}] for question, right, said in asked
        ]
        listed = self._write(first)
        differ = [place for place, text in enumerate(listed) if plain(text) not in ("", "none")]
        second = [
            [*first[place], {"role": "assistant", "content": listed[place]}, {"role": "user", "content": REWRITE}] for place in differ
        ]
        written = dict(zip(differ, self._write(second), strict=True))
        return [written.get(place) for place in range(len(asked))]

    @torch.no_grad()
    def _write(self, chats: Sequence[Turns]) -> list[str]:
        if not chats:
            return []
        texts = [self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True) for turns in chats]
        options = {"padding": True, "padding_side": "left", "add_special_tokens": False, "return_tensors": "pt"}
        inputs = self.tokenizer(texts, **options).to(self.model.device)
        plain_ways = {"do_sample": False, "num_beams": 1, "pad_token_id": self.tokenizer.pad_token_id}
        written = self.model.generate(**inputs, max_new_tokens=self.max_new_tokens, **plain_ways)
        said = self.tokenizer.batch_decode(written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return [text.strip() for text in said]


def load_rewriter(config: TextModelConfig) -> Rewriter:
    """The text model of a configuration, on the accelerator where there is one. Raises UserError where there is none."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place, options = str(config.pretrained), {"revision": config.revision}
    tokenizer = attempt(place, "tokenizer", lambda: AutoTokenizer.from_pretrained(place, **options))
    dtype = getattr(torch, config.dtype)
    model = attempt(place, "weights", lambda: AutoModelForCausalLM.from_pretrained(place, dtype=dtype, **options))
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return Rewriter(model.eval().requires_grad_(False).to(accelerator or "cpu"), tokenizer, config.max_new_tokens)
