"""Linear layers with nothing between them, as the heads of scorers are published: together they are one affine map."""

from collections.abc import Sequence

from torch import Tensor


def collapsed(layers: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The map (out, in), (out,) that weights and biases make one after the other, multiplied in float64.

    Raises:
        RuntimeError: a layer does not take what the one before gives.

    >>> import torch
    >>> one, other = (torch.tensor([[2.0], [3.0]]), torch.tensor([1.0, 0.0])), (torch.tensor([[1.0, -1.0]]), torch.tensor([5.0]))
    >>> [part.tolist() for part in collapsed([one, other])]
    [[[-1.0]], [6.0]]
    """
    weight, bias = (part.double() for part in layers[0])
    for own, shift in layers[1:]:
        weight, bias = own.double() @ weight, own.double() @ bias + shift.double()
    return weight, bias
