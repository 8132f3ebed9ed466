"""How much of a model's attention goes to each picture while it answers, measured in one layer by a hook that keeps one row.

MIA-DPO (arXiv:2410.17637, released scripts): the mean over heads, and over the tokens of the answer but the first, of the attention that
goes from the token being written to each picture's tokens. Shares are among pictures, or among the parts of one; text does not count.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from mmalign.errors import UserError
from mmalign.vlm.encode import EncodedPrompt, EncodedPrompts
from mmalign.vlm.family import VlmFamily, decoder_of
from mmalign.vlm.multi_image import MultiImage

PROBE = "mmalign_probe"
LAYER = 0.5
"""Which layer is looked at, as a share of all: LLaVA-1.5's index 16 of 32."""


class AttentionProbe:
    """Keeps the attention of the tokens written while it is on, to the prompt's tokens (B, L) alone.

    The model's own way of attention stays in place in all layers. In one of them the weights of a single query are computed beside it,
    which costs a vector per token and head.

    Args:
        model: an image-text-to-text model of transformers.
        layer: index of the layer; None = the one in the middle.

    Raises:
        UserError: there is no such layer.
    """

    def __init__(self, model: nn.Module, layer: int | None = None):
        layers = decoder_of(model)[1].layers
        self.layer = round(len(layers) * LAYER) if layer is None else layer
        if not -len(layers) <= self.layer < len(layers):
            raise UserError(f"the layer {self.layer} is not there; the model has {len(layers)}, from 0 on")
        self.module = layers[self.layer].self_attn
        self.rows: list[Tensor] = []

    @contextmanager
    def on(self) -> Iterator["AttentionProbe"]:
        """Inside it, forwards of single tokens are measured; the pass over the prompt is not."""
        self.rows = []
        before = self.module.config
        # transformers keeps attention in the open beside each model
        in_the_open = getattr(sys.modules[type(self.module).__module__], "eager_attention_forward", None)
        plain = ALL_ATTENTION_FUNCTIONS.get_interface(before._attn_implementation, in_the_open)
        ALL_ATTENTION_FUNCTIONS.register(PROBE, partial(self._attend, plain))
        self.module.config = copy(before)
        self.module.config._attn_implementation_internal = PROBE
        try:
            yield self
        finally:
            self.module.config = before

    def _attend(self, plain: Callable, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, **given: Any) -> Any:
        if query.shape[2] == 1:
            self._keep(attention_row(query, key, mask, given.get("scaling")))
        return plain(module, query, key, value, mask, **given)

    def _keep(self, row: Tensor) -> None:
        # the first single token sees the prompt and itself
        prompt = self.rows[0].shape[1] if self.rows else row.shape[1] - 1
        self.rows.append(row[:, :prompt])

    def mean(self, row: int, tokens: int) -> Tensor | None:
        """Where an answer (the row of the batch) of so many tokens looked, (L,); None for one of a single token."""
        steps = [kept[row] for kept in self.rows[: tokens - 1]]
        return torch.stack(steps).mean(0).cpu() if steps else None


@torch.no_grad()
def attention_row(query: Tensor, key: Tensor, mask: Tensor | None, scale: float | None) -> Tensor:
    """Where a single query looks, (B, L), float32: the mean over heads of its weights.

    Args:
        query: (B, H, 1, D).
        key: (B, H or fewer, L, D); each serves as many heads of the query.
        mask: what is seen, as numbers to add or as a statement (B, 1, 1, L); None = all.
        scale: of the scores; None = the root of D.
    """
    key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    scores = (query.float() @ key.float().transpose(2, 3)) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if mask is not None:
        mask = mask[..., : key.shape[2]]
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1).mean(1)[:, 0]


def picture_shares(row: Tensor, spans: Sequence[tuple[int, int]], image: Tensor) -> Tensor:
    """Of attention (L,) the share of each picture, (pictures,), by the mean over a picture's tokens, since they differ in number.

    Args:
        spans: places (start, stop) of each picture among the tokens.
        image: (L,), where picture tokens are: separators within a span do not count.
    """
    means = torch.stack([row[start:stop][image[start:stop]].mean() for start, stop in spans])
    return means / means.sum()


def box_share(row: Tensor, cells: Tensor, box: tuple[float, float, float, float]) -> Tensor:
    """Of attention (n,) on a picture's tokens the share of a part of it; a token counts by how much of its area lies in it.

    Args:
        cells: (n, 4), left, top, right and bottom of each token's area, as shares of the picture.
        box: the part, likewise.
    """
    left, top, right, bottom = cells.unbind(-1)
    width = (right.clamp(max=box[2]) - left.clamp(min=box[0])).clamp(min=0) / (right - left)
    height = (bottom.clamp(max=box[3]) - top.clamp(min=box[1])).clamp(min=0) / (bottom - top)
    return (row * width * height).sum() / row.sum()


def target_share(family: VlmFamily, asked: EncodedPrompts, row: int, made: MultiImage, attention: Tensor) -> float:
    """Of an answer's attention to pictures the share of the one that was asked about.

    Args:
        family: of the model that answered.
        asked: the batch of prompts that it was given.
        row: which of them.
        made: what the prompt was made as.
        attention: (L,), the mean of the answer's attention to the prompt's tokens.

    Raises:
        UserError: the family does not know where in a picture its tokens lie, which parts of a picture are found by.
    """
    prompt = prompt_of(asked, row)
    image = prompt.prefix == family.processor.tokenizer.convert_tokens_to_ids(family.processor.image_token)
    if made.box is None:
        return picture_shares(attention, prompt.spans, image)[made.target].item()
    start, stop = prompt.spans[0]
    cells = family.cells(prompt, 0, made.images[0].size)
    return box_share(attention[start:stop][image[start:stop]], cells, made.box).item()


def prompt_of(asked: EncodedPrompts, row: int) -> EncodedPrompt:
    """One prompt of a batch, padding included; of what the vision tower reads, what has an entry for each picture is that of its own."""
    counts = [len(spans) for spans in asked.spans]
    first, total = sum(counts[:row]), sum(counts)
    # of a tower that reads patches or tiles in one row, sizes and grids are still by picture
    own = {
        name: value[first : first + counts[row]] if len(value) == total else value[row : row + 1] if len(value) == len(counts) else value
        for name, value in asked.inputs.items()
    }
    ids = asked.inputs["input_ids"][row]
    return EncodedPrompt(ids, torch.zeros_like(ids), (), (), (), own, asked.spans[row])
