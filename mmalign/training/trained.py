"""What is trained, as the loop and the checkpoints see it."""

from pathlib import Path
from typing import Protocol

from torch import nn


class Trained(Protocol):
    """A model with a trained part; each kind of model has its own."""

    module: nn.Module

    def save(self, folder: Path) -> None:
        """Writes the result as the stock libraries read it."""
        ...

    def save_state(self, folder: Path) -> None:
        """Writes the trained tensors exactly, for a checkpoint."""
        ...

    def load_state(self, folder: Path) -> None:
        """Puts them back. Raises UserError where they are damaged or belong to another model."""
        ...

    def constrain(self) -> None:
        """Puts values that a step moved out of their range back; called after every step."""
        ...

    def remove(self) -> None:
        """Gives the model back as it was, where it is the user's."""
        ...


def parameters(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that are trained."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]
