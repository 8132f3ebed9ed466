"""A scorer in a test: it answers with given logits and labels."""

import torch

from mmalign.policy import Labels


class Fixed:
    """A scoring policy whose logits and labels are given; the candidates stand best first unless ranks say otherwise."""

    module = torch.nn.Identity()

    def __init__(self, logits, preferences=None, ranks=None):
        self.answer = logits
        places = torch.arange(logits.shape[1]).expand(logits.shape)
        self.label = Labels(torch.ones(len(logits)) if preferences is None else preferences, places if ranks is None else ranks)

    def prepare(self, batch, generators):
        return batch

    def logps(self, inputs):
        return self.answer

    def labels(self, inputs):
        return self.label
