"""What the policy is measured against, behind one name: ``policy.reference()``.

A strategy is a callable that takes the policy and returns a context in which the policy answers as its reference.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from mmalign.diffusion.policy import DiffusionPolicy


class AdapterOff:
    """The same weights with the trained adapter switched off: no second model.

    Other adapters that the user had loaded stay on, since they belong to the base that the policy started from.

    Args:
        module: the denoiser that holds the adapter.
        name: the adapter's name.
    """

    def __init__(self, module: nn.Module, name: str):
        self.name = name
        self.layers = [m for m in module.modules() if isinstance(m, BaseTunerLayer) and name in m._all_available_adapter_names()]
        self.parameters = [p for p in module.parameters() if p.requires_grad]

    @contextmanager
    def __call__(self, policy: DiffusionPolicy) -> Iterator[None]:
        before = [list(layer.active_adapters) for layer in self.layers]
        for layer, active in zip(self.layers, before, strict=True):
            others = [name for name in active if name != self.name]
            if others:
                layer.set_adapter(others, inference_mode=True)
            else:
                layer.enable_adapters(False)
        try:
            yield
        finally:
            for layer, active in zip(self.layers, before, strict=True):
                layer.enable_adapters(True)
                layer.set_adapter(active, inference_mode=True)
            # peft freezes what it switches; only what was trained before is trained again
            for parameter in self.parameters:
                parameter.requires_grad_(True)


class FrozenCopy:
    """A second, frozen model: for full fine-tuning.

    Args:
        module: a copy of the denoiser as it was before training.
    """

    def __init__(self, module: nn.Module):
        self.module = module.requires_grad_(False).eval()

    @contextmanager
    def __call__(self, policy: DiffusionPolicy) -> Iterator[None]:
        with policy.using(self.module):
            yield


class Missing:
    """No reference at all, for methods that need none: asking for it is an error."""

    @contextmanager
    def __call__(self, policy: DiffusionPolicy) -> Iterator[None]:
        raise RuntimeError("this run was built without a reference")
        yield


def copy_of(module: nn.Module) -> nn.Module:
    """A frozen copy of a module on the same device."""
    import copy

    with torch.no_grad():
        return copy.deepcopy(module)
