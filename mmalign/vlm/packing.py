"""Whether a model can be asked packed: some do more than look back, such as at whole pictures both ways, or through a window."""

import inspect

import torch
from torch import Tensor

from mmalign.errors import UserError
from mmalign.policy import in_order
from mmalign.vlm.batch import pack
from mmalign.vlm.encode import EncodedPrompt
from mmalign.vlm.policy import VlmPolicy

MOST_APART = {torch.float32: 1e-2, torch.float16: 0.2, torch.bfloat16: 0.5}
"""How far log-probabilities of tokens may lie apart in a number format; models that read otherwise are off by whole units."""


@torch.no_grad()
def check_packing(policy: VlmPolicy, prompt: EncodedPrompt, device: torch.device) -> None:
    """Compares a packed prompt with the model's own forward over each of its responses.

    Args:
        policy: not trained yet.
        prompt: any, best one with pictures and long responses.

    Raises:
        UserError: they differ, so that training would be on other numbers than the model's own.
    """
    batch = pack([[prompt]], in_order(1, len(prompt.responses)), [""], torch.ones(1)).to(device)
    packed, mask = policy.token_logps(policy.prepare(batch))
    apart = max(
        (packed[0, place][mask[0, place]] - own_logps(policy, prompt, place, device)).abs().max().item()
        for place in range(len(prompt.responses))
        if mask[0, place].any()
    )
    model = policy.family.model
    if not apart <= MOST_APART.get(model.dtype, 0.5):
        raise UserError(
            f"{type(model).__name__} does not read a prompt with several responses as it reads them one by one (its log-probabilities "
            f"differ by {apart:.2g}), since its attention does more than look back; choose a model of another family"
        )


def own_logps(policy: VlmPolicy, prompt: EncodedPrompt, place: int, device: torch.device) -> Tensor:
    """Log-probabilities (n,) of a response's scored tokens by the model's own forward, float32."""
    model, said = policy.family.model, prompt.responses[place].to(device)
    ids = torch.cat([prompt.prefix.to(device), said])[None]
    kinds = torch.cat([prompt.kinds.to(device), torch.zeros_like(said)])[None]
    takes = inspect.signature(model.forward).parameters
    told = {name: kinds for name in ("mm_token_type_ids", "token_type_ids") if name in takes and name not in prompt.vision}
    seen = {name: value.to(device, model.dtype if value.is_floating_point() else None) for name, value in prompt.vision.items()}
    with policy.autocast():
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **told, **seen).logits
    start = len(prompt.prefix) - 1
    logps = logits[0, start : start + len(said)].float().log_softmax(-1).gather(1, said[:, None])[:, 0]
    return logps[prompt.masks[place].to(device)]
