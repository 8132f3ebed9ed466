"""Muon for matrices and convolutions: momentum, made orthogonal.

Keller Jordan, "Muon: an optimizer for hidden layers in neural networks" (2024); the scale of the update follows Liu et al., "Muon is
scalable for LLM training" (2025), so that AdamW's rates carry over. torch.optim.Muon takes matrices only, and most of a UNet's weights
are convolutions: here a kernel counts as the matrix of its output channels by all else.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration, from the 2024 text


class Muon(torch.optim.Optimizer):
    """Nesterov momentum whose every update has all its singular values near one.

    Args:
        parameters: of two dimensions or more.
        lr: learning rate in AdamW's units.
        momentum: decay of the momentum.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group["lr"], group["momentum"])

    def _update(self, parameter: nn.Parameter, rate: float, momentum: float) -> None:
        state = self.state[parameter]
        buffer = state.setdefault("momentum", torch.zeros_like(parameter))
        buffer.lerp_(parameter.grad, 1 - momentum)
        direction = orthogonalize(parameter.grad.lerp(buffer, momentum).flatten(1))
        parameter.sub_(direction.reshape_as(parameter), alpha=0.2 * math.sqrt(max(direction.shape)) * rate)


def orthogonalize(matrix: Tensor, steps: int = 5) -> Tensor:
    """The nearest matrix with orthonormal rows or columns, roughly: singular values end between about 0.7 and 1.2."""
    a, b, c = COEFFICIENTS
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / wide.norm().clamp(min=1e-7)
    for _ in range(steps):
        square = wide @ wide.T
        wide = a * wide + (b * square + c * square @ square) @ wide
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T
