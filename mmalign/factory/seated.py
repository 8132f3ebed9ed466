"""The vision-language model of a configuration, where it shall run."""

import torch

from mmalign import pipelines
from mmalign.config.responses import VlmConfig
from mmalign.scorers.written import files_named
from mmalign.scoring.pictures import digest
from mmalign.shapes.models import resolve
from mmalign.vlm.family import VlmFamily


def seated(config: VlmConfig) -> VlmFamily:
    """The model on this process's accelerator where there is one, in evaluation mode and frozen. Raises UserError where there is none."""
    family = pipelines.configured_vlm(config)
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    family.model.eval().requires_grad_(False).to(accelerator or "cpu")
    return family


def model_files(config: VlmConfig) -> str:
    """What changes where another model is written into the same folder."""
    return digest(list(files_named(resolve(config.pretrained))))
