"""PPD's few-shot encoder: a vision-language model writes a person's profile, and what it held last is the embedding (arXiv 2501.06655)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmalign.config import VlmConfig, from_mapping
from mmalign.data.digest import digest
from mmalign.data.fingerprint import fingerprint
from mmalign.errors import UserError
from mmalign.pipelines import configured_vlm
from mmalign.users.encoder import Person, UserEncoder
from mmalign.users.profile import WORDS, Asked, Interview
from mmalign.vlm.encode import PromptEncoder
from mmalign.vlm.family import VlmFamily

PLAIN = {"do_sample": False, "num_beams": 1, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0}
"""Greedy decoding without what a checkpoint's own settings add."""


class VlmEncoder(UserEncoder):
    """Asks for descriptions, differences and a profile, writes them greedily, and keeps no word of them: the embedding is the hidden states
    of all layers, the input's embedding first and the last one normalized, at the last step of writing.

    A step's hidden states are of the token that it reads. The last step is the one that writes the end of the turn, so that they are of the
    last token before it; where the length is used up they are of the last token but one, as in the published code.

    Args:
        model: which model, as ``mmalign train`` has it in ``vlm``.
        max_new_tokens: tokens of a profile at most; published: 1024.
        processor: arguments of the model's processor, such as {"max_pixels": 401408}.
        batch_size: people at once; a profile's cost is nearly all in its 2 N pictures, so that 1 is seldom slow.
        family: the model, where it is open already.

    Attributes:
        tokens, width: layers + 1, and the language model's width; (29, 3584) of the published Qwen2-7B.
    """

    kind = "vlm"

    def __init__(
        self,
        model: VlmConfig,
        max_new_tokens: int = 1024,
        processor: Mapping[str, Any] | None = None,
        batch_size: int = 1,
        family: VlmFamily | None = None,
    ):
        self.config, self.max_new_tokens, self.options, self.batch_size = model, max_new_tokens, dict(processor or {}), batch_size
        self.family = _seated(configured_vlm(model) if family is None else family)
        self._encoder = PromptEncoder(self.family.processor)
        self.interview = Interview(self._encoder)
        text = self.family.model.config.get_text_config()
        self.tokens, self.width = text.num_hidden_layers + 1, text.hidden_size

    def embed_many(self, people: Sequence[Person]) -> Tensor:
        if not people:
            return torch.empty(0, self.tokens, self.width)
        parts = [people[start : start + self.batch_size] for start in range(0, len(people), self.batch_size)]
        return torch.cat([self._written([self.interview(choices) for choices in part]) for part in parts])

    def identity(self) -> str:
        return self._identity

    @cached_property
    def _identity(self) -> str:
        """Found once: all weights are read, which are frozen."""
        return digest(self.kind, fingerprint([self.family.model]), list(WORDS), self.max_new_tokens, self.options)

    def said(self) -> dict[str, Any]:
        return {"vlm": self.config.model_dump(mode="json"), "max_new_tokens": self.max_new_tokens, "processor": self.options}

    @torch.no_grad()
    def _written(self, asked: Sequence[Asked]) -> Tensor:
        """Embeddings (B, T, W) of a batch of people."""
        model = self.family.model
        found = self._encoder.prompts([one.turns for one in asked], [one.images for one in asked], **self.options)
        inputs = {name: value.to(model.device, model.dtype if value.is_floating_point() else None) for name, value in found.inputs.items()}
        self._check_length(inputs["input_ids"].shape[1], len(asked[0].images))
        with last_states(model) as states:
            model.generate(**inputs, max_new_tokens=self.max_new_tokens, **PLAIN)
        return states[0].float().cpu()

    def _check_length(self, length: int, pictures: int) -> None:
        limit = getattr(self.family.model.config.get_text_config(), "max_position_embeddings", None)
        if limit is not None and length >= limit:
            raise UserError(
                f"{pictures} pictures with their captions are {length:,} tokens, and the model reads {limit:,}; give fewer shots, or a "
                "smaller max_pixels to the processor"
            )


@contextmanager
def last_states(model: nn.Module) -> Iterator[list[Tensor]]:
    """Within it, while the model generates, the list has one tensor (B, layers + 1, W): of each row the hidden states of the last step
    before its turn ended. Those of other steps and places are let go at once."""
    ends = model.generation_config.eos_token_id
    stops = torch.tensor(ends if isinstance(ends, list) else [ends] if ends is not None else [], dtype=torch.int64)
    states: list[Tensor] = []
    over = torch.zeros(1, dtype=torch.bool)

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        nonlocal over
        if states:  # what is read is what was written before
            over = over | torch.isin(kwargs["input_ids"][:, -1].cpu(), stops)
        return args, kwargs | {"output_hidden_states": True}

    def after(_: nn.Module, __: Any, out: Any) -> None:
        now = torch.stack([layer[:, -1] for layer in out.hidden_states], dim=1)
        states[:] = [torch.where(over.to(now.device)[:, None, None], states[0], now) if states else now]
        out.hidden_states = None

    hooks = [model.register_forward_pre_hook(before, with_kwargs=True), model.register_forward_hook(after)]
    try:
        yield states
    finally:
        for hook in hooks:
            hook.remove()


def read(folder: Path, said: Mapping[str, Any]) -> VlmEncoder:
    """The encoder of a folder, which names its model. Raises UserError where that is not to be had."""
    try:
        told = said["vlm"], int(said["max_new_tokens"]), dict(said["processor"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder} does not say which model it asks ({error}); give a folder that `mmalign users embed` wrote") from error
    return VlmEncoder(from_mapping(told[0], VlmConfig, str(folder)), *told[1:])


def _seated(family: VlmFamily) -> VlmFamily:
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    family.model.eval().requires_grad_(False).to(accelerator or "cpu")
    return family
