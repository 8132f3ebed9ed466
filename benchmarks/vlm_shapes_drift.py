"""How far an adapter has gone from its base on held-out preferences: the margin it has won, and the divergence it has paid."""

from collections.abc import Sequence
from pathlib import Path

import torch

from mmalign.data.responses import ResponseExample
from mmalign.evaluation.answers.sides import ADAPTER_NAME, AlignedVlm
from mmalign.training.reference import AdapterOff
from mmalign.training.response_rows import ResponseRows, collate
from mmalign.vlm.encode import PromptEncoder
from mmalign.vlm.family import VlmFamily
from mmalign.vlm.policy import VlmPolicy
from mmalign.vlm.token_logps import PackedModel

BATCH = 16


class Drift:
    """Measures adapters of a family on preferences.

    Args:
        family: the base.
        examples: preferences that nothing was trained on.
    """

    def __init__(self, family: VlmFamily, examples: Sequence[ResponseExample]):
        self.family = family
        rows = ResponseRows(examples, PromptEncoder(family.processor))
        encoded = [rows[index, index] for index in range(len(rows))]
        self.batches = [encoded[start : start + BATCH] for start in range(0, len(encoded), BATCH)]

    @torch.no_grad()
    def __call__(self, adapter: Path) -> dict[str, float]:
        """Means over rows: ``margin``, the log-ratio of the chosen minus that of the rejected response in nats; ``kl``, KL(base || adapter)
        in nats, a sum over the tokens of the chosen response."""
        sides = AlignedVlm(self.family, adapter)
        margins, kls = [], []
        with sides.aligned() as family:
            policy = VlmPolicy(family, PackedModel(family.model), AdapterOff(family.model, ADAPTER_NAME))
            for rows in self.batches:
                inputs = policy.prepare(collate(rows))
                with policy.reference():
                    before = policy.distributions(inputs)
                    logps = policy.logps(inputs)
                said = policy.distributions(inputs)
                ratios = policy.logps(inputs) - logps
                margins.append(ratios[:, 0] - ratios[:, 1])
                kls.append(policy.kls(inputs, before, said, (0,))[:, 0].sum(-1))
        sides.close()
        return {"margin": torch.cat(margins).mean().item(), "kl": torch.cat(kls).mean().item()}
