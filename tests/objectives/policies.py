"""A denoising policy in a test: it answers with given errors and labels, and its reference can be forbidden."""

from contextlib import contextmanager

import torch

from mmalign.policy import in_order


class Denoising:
    """Errors (B, K) of policy and reference; without the latter, asking for the reference fails.

    Args:
        labels: what was said of the candidates; None = that they stand in order.
        noise_weights: (B,); None = ones.
    """

    module = torch.nn.Identity()

    def __init__(self, errors, ref_errors=None, labels=None, noise_weights=None):
        self.answers, self.inside = {False: errors, True: ref_errors}, False
        self.label = labels or in_order(*errors.shape)
        self.weights = torch.ones(len(errors)) if noise_weights is None else noise_weights

    def prepare(self, batch, generators):
        return batch

    def errors(self, inputs):
        return self.answers[self.inside]

    def logps(self, inputs):
        return -0.5 * self.errors(inputs)

    def labels(self, inputs):
        return self.label

    def noise_weights(self, inputs):
        return self.weights

    @contextmanager
    def reference(self):
        if self.answers[True] is None:
            raise AssertionError("the reference was asked for")
        self.inside = True
        yield
        self.inside = False
