"""What is trained of a denoiser: a LoRA inside it, or all of its weights; and how the result is saved for the stock libraries."""

from pathlib import Path

import torch

from mmalign.config import AdapterConfig, FullConfig
from mmalign.diffusion.family import DiffusionFamily
from mmalign.errors import UserError
from mmalign.training.frozen import FrozenTraining
from mmalign.training.lora import LoraTraining
from mmalign.training.module_state import ModuleState
from mmalign.training.reference import EarlierCopy, FrozenCopy, NoReference, copy_of


class FullTraining:
    """All weights of the denoiser; the reference is a frozen copy, where one is needed.

    Without a reference the weights from before training are kept on the CPU, and only where they are to be given back.

    Raises:
        UserError: the weights are in half precision and the forward is not.
    """

    def __init__(
        self,
        family: DiffusionFamily,
        config: FullConfig,
        seed: int,
        autocast: bool = False,
        reference: bool = True,
        give_back: bool = True,
        member: bool = False,
    ):
        self.family, self.module, self.dtype = family, family.denoiser, family.denoiser.dtype
        if self.dtype != torch.float32 and not autocast:
            remedy = "set train.mixed_precision bf16, or model.dtype float32"
            raise UserError(f"full training keeps float32 weights beside a half-precision reference: {remedy}")
        self.before = ModuleState(self.module)
        self.reference = FrozenCopy(copy_of(self.module)) if reference and not member else NoReference()
        keep = give_back and isinstance(self.reference, NoReference)
        self.kept = {name: tensor.to("cpu", copy=True) for name, tensor in self.module.state_dict().items()} if keep else None
        # half-precision master weights lose small updates
        self.module.to(torch.float32).requires_grad_(True)
        if reference and member:
            self.reference = EarlierCopy(copy_of(self.module))  # in float32 as well: a member that is the policy has its numbers

    def save(self, folder: Path) -> None:
        """Writes the denoiser as diffusers does, into a subfolder of its name."""
        self.module.save_pretrained(folder / self.family.denoiser_name, safe_serialization=True)

    def save_state(self, folder: Path) -> None:
        """Writes the float32 weights, once, as diffusers does."""
        self.save(folder)

    def load_state(self, folder: Path) -> None:
        """Puts the weights of a checkpoint back. Raises UserError where they are damaged or another model's."""
        try:
            saved = type(self.module).from_pretrained(folder, subfolder=self.family.denoiser_name, dtype=torch.float32)
            self.module.load_state_dict(saved.state_dict())
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(f"the checkpoint {folder} cannot be read, or is another model's: {str(error).splitlines()[0]}") from error

    def constrain(self) -> None:
        """Nothing has a range."""

    def remove(self) -> None:
        """Puts the weights from before training back into the user's pipeline, where they were kept."""
        initial = isinstance(self.reference, FrozenCopy) and not isinstance(self.reference, EarlierCopy)
        before = self.reference.module.state_dict() if initial else self.kept
        if before is not None:
            self.module.load_state_dict(before)
        self.module.to(self.dtype)
        self.before.restore()


Trainable = LoraTraining | FullTraining | FrozenTraining
KINDS: dict[str, type[Trainable]] = {"lora": LoraTraining, "full": FullTraining, "none": FrozenTraining}
"""What trains the denoiser, by the name of the adapter."""


def trainable(
    family: DiffusionFamily,
    config: AdapterConfig,
    seed: int,
    autocast: bool = False,
    *,
    reference: bool = True,
    give_back: bool = True,
    member: bool = False,
) -> Trainable:
    """Makes the denoiser trainable as the configuration says.

    Args:
        seed: of the adapter's first weights.
        autocast: whether the forward runs in half precision by autocast.
        reference: whether the method asks for the reference; where not, no frozen copy is made.
        give_back: whether the pipeline is needed after training as it was before.
        member: whether that reference is an earlier state of the model, loaded at every round, in place of the base.
    """
    made = KINDS[config.name](family, config, seed, autocast, reference, give_back, member)
    for name in family.unread:
        family.denoiser.get_submodule(name).requires_grad_(False)
    made.module.eval()  # dropout would make policy and reference differ at equal weights
    return made
