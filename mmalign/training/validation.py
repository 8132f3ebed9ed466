"""Pictures during training: the same prompts from the same noise at every interval, as one grid per step."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from mmalign.config import ValidationConfig
from mmalign.diffusion.family import DiffusionFamily
from mmalign.files import write_whole
from mmalign.training.loop import Run

SAMPLES = "samples"


class Validation:
    """Writes ``samples/step-000100.png`` at intervals, from the averaged weights where there are any."""

    def __init__(self, run: Run, family: DiffusionFamily, config: ValidationConfig):
        self.run, self.family, self.config = run, family, config

    def __call__(self, step: int) -> None:
        config, accelerator = self.config, self.run.accelerator
        due = step and config.steps and config.prompts and (step % config.steps == 0 or step == self.run.config.max_train_steps)
        if not due:
            return
        if accelerator.is_main_process:
            self._draw(step)
        accelerator.wait_for_everyone()

    def _draw(self, step: int) -> None:
        seeds = range(self.config.seed, self.config.seed + len(self.config.prompts))
        call = {name: getattr(self.config, name) for name in ("num_inference_steps", "guidance_scale")}
        with self.run.averaged():
            pictures = self.family.sample(self.config.prompts, list(seeds), **call)
        save_grid(pictures, self.run.output_dir / SAMPLES / f"step-{step:06d}.png")


def save_grid(pictures: Tensor | Sequence[Tensor], path: Path, columns: int = 4, at_least: int = 256) -> None:
    """A PNG grid of pictures (N, 3, H, W) in [0, 1]; small ones are enlarged without smoothing."""
    pictures = pictures if isinstance(pictures, Tensor) else torch.stack(list(pictures))
    scale = max(1, at_least // pictures.shape[-1])
    pictures = pictures.repeat_interleave(scale, dim=-1).repeat_interleave(scale, dim=-2)
    grid = make_grid(pictures, nrow=min(columns, len(pictures)), padding=8, pad_value=1.0)
    buffer = BytesIO()
    Image.fromarray((grid.permute(1, 2, 0) * 255).round().clamp(0, 255).byte().numpy()).save(buffer, format="PNG")
    write_whole(path, buffer.getvalue())
