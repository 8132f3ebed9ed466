"""A denoiser in a test: it answers with given residuals or errors, and says when it was asked for its reference."""

from contextlib import contextmanager

import torch

from mmalign.policy import Labels


class Fixed:
    """A denoising policy whose residuals (B, K, ...) are given, or its errors (B, K) alone; ``asked`` counts its forwards.

    Without ``ref`` it has no reference.
    """

    module = torch.nn.Identity()

    def __init__(self, ours, ref=None, scores=None):
        self.ours, self.ref, self.scores, self.inside = ours, ref, scores, False
        self.asked = {"policy": 0, "reference": 0}

    def prepare(self, batch, generators):
        return batch

    def _answer(self):
        self.asked["reference" if self.inside else "policy"] += 1
        return (self.ref if self.inside else self.ours).clone()  # under no_grad it is cut off

    def residuals(self, inputs):
        return self._answer()

    def errors(self, inputs):
        answer = self._answer()
        return answer.square().flatten(2).mean(2) if answer.ndim > 2 else answer

    def logps(self, inputs):
        return -0.5 * self.errors(inputs)

    def labels(self, inputs):
        rows, count = self.ours.shape[:2]
        return Labels(torch.ones(rows), torch.arange(count).expand(rows, count), self.scores)

    def noise_weights(self, inputs):
        return torch.ones(len(self.ours))

    @contextmanager
    def reference(self):
        assert self.ref is not None, "the method asked for a reference"
        self.inside = True
        try:
            yield
        finally:
            self.inside = False


def double(*values):
    """A float64 tensor of the values."""
    return torch.tensor(values, dtype=torch.float64)
