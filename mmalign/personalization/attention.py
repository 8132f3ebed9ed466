"""A second attention beside one that is there: over a user's tokens, with keys and values of its own and the query shared."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

UserTokens = tuple[Tensor, Tensor]
"""Tokens (N, T, D), zero for nobody, and the strengths (N, 1, 1) of the second attention."""


class WithUser:
    """A processor of diffusers that gives what another one gives, plus W_out Attention(Q, U W_k, U W_v).

    The other one runs as ever, so that whatever it is (xformers, sliced, a LoRA on its layers) stays; without a user nothing is added. As
    the new layers have no bias, tokens that are zero add zeros: such a row is the base's, bit for bit.

    It is no module, so that the denoiser has no parameters, and no keys in its files, that it did not have before.

    Args:
        before: the processor that is there.
        key, value: (N, T, D) -> (N, T, inner), without bias.
    """

    def __init__(self, before: Callable[..., Any], key: nn.Linear, value: nn.Linear):
        self.before, self.key, self.value = before, key, value

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        ip_hidden_states: UserTokens | None = None,  # of diffusers' names, one that layers without a use for it let pass silently
    ) -> Any:
        out = self.before(attn, hidden_states, encoder_hidden_states=encoder_hidden_states, attention_mask=attention_mask)
        if ip_hidden_states is None:
            return out
        added = self._attended(attn, hidden_states, *ip_hidden_states)
        # joint attention gives the text's stream too, which knows no user
        return (out[0] + added, *out[1:]) if isinstance(out, tuple) else out + added

    def _attended(self, attn: Any, hidden_states: Tensor, tokens: Tensor, scale: Tensor) -> Tensor:
        query = _heads(attn.to_q(hidden_states), attn.heads)
        key, value = (_heads(layer(tokens).to(query.dtype), attn.heads) for layer in (self.key, self.value))
        if attn.norm_q is not None:
            query = attn.norm_q(query)
            key = F.rms_norm(key, key.shape[-1:])  # queries of norm 1 want keys of norm 1; zeros stay zeros
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        project = attn.to_out[0]
        # the layer itself, whatever is wrapped around it, without its bias, which is in the other's output
        added = project(attended) - project(torch.zeros_like(attended[:1, :1]))
        return added * scale.to(added.dtype) / attn.rescale_output_factor


def _heads(tensor: Tensor, heads: int) -> Tensor:
    """(N, L, heads * d) -> (N, heads, L, d)."""
    return tensor.unflatten(-1, (heads, -1)).transpose(1, 2)
