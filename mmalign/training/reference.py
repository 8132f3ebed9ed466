"""What the policy is measured against, behind one name: ``policy.reference()``.

A strategy is a callable that takes the policy and returns a context in which the policy answers as its reference.
"""

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

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

    @contextmanager
    def __call__(self, policy: DiffusionPolicy) -> Iterator[None]:
        # The flags themselves: peft's own switches also walk all parameters and freeze them, twice a step.
        before = [(layer._disable_adapters, layer._active_adapter) for layer in self.layers]
        for layer in self.layers:
            others = [name for name in layer.active_adapters if name != self.name]
            layer._disable_adapters, layer._active_adapter = not others, others or layer._active_adapter
        try:
            yield
        finally:
            for layer, (disabled, active) in zip(self.layers, before, strict=True):
                layer._disable_adapters, layer._active_adapter = disabled, active


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


class NoReference:
    """For methods that need none: nothing is kept, and asking is an error of the method.

    Raises:
        RuntimeError: the policy was asked for its reference.
    """

    def __call__(self, policy: DiffusionPolicy) -> AbstractContextManager[None]:
        raise RuntimeError("this run keeps no reference; a method that asks for one says so with needs_reference")


def copy_of(module: nn.Module) -> nn.Module:
    """A frozen copy of a module on the same device."""
    with torch.no_grad():
        return copy.deepcopy(module)
