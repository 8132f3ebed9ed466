"""Pictures during training: the same prompts from the same noise at every interval, as one grid per step."""

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from mmalign.config import ValidationConfig
from mmalign.diffusion.draw import strips
from mmalign.diffusion.family import DiffusionFamily
from mmalign.files import write_whole
from mmalign.personalization.denoiser import keyword
from mmalign.training.loop import Run

SAMPLES = "samples"


class Validation:
    """Writes ``samples/step-000100.png`` at intervals, from the averaged weights where there are any.

    Args:
        run, family, config: of the run.
        shown: gives the embeddings of the users to draw for, None for nobody: a column each, and a row for each prompt; None = no users.
        frames: of the clips that are trained on; None where they are pictures.
    """

    def __init__(
        self,
        run: Run,
        family: DiffusionFamily,
        config: ValidationConfig,
        shown: Callable[[], Mapping[str, Tensor | None]] | None = None,
        frames: int | None = None,
    ):
        self.run, self.family, self.config, self.shown = run, family, config, shown
        self.size = family.sized(**{**config.size, "frames": config.frames or frames})

    def __call__(self, step: int) -> None:
        config, accelerator = self.config, self.run.accelerator
        due = step and config.steps and config.prompts and (step % config.steps == 0 or step == self.run.config.max_train_steps)
        if not due:
            return
        if accelerator.is_main_process:
            self._draw(step)
        accelerator.wait_for_everyone()

    def _draw(self, step: int) -> None:
        with self.run.averaged():
            columns = [self._column({})] if self.shown is None else [self._column(self._for(user)) for user in self.shown().values()]
        place, wide = self.run.output_dir / SAMPLES / f"step-{step:06d}.png", {} if self.shown is None else {"columns": len(columns)}
        save_grid(torch.stack(columns, dim=1).flatten(0, 1), place, **wide)

    def _column(self, call: Mapping[str, Any]) -> Tensor:
        """A picture of each prompt, from the same noise every time; of a clip, a strip of its frames."""
        seeds = range(self.config.seed, self.config.seed + len(self.config.prompts))
        strength = {name: getattr(self.config, name) for name in ("num_inference_steps", "guidance_scale")}
        return strips(self.family.sample(self.config.prompts, list(seeds), **strength, **self.size, **call))

    def _for(self, user: Tensor | None) -> dict[str, Any]:
        """What the pipeline is called with beside the prompts, to draw for a user."""
        return {keyword(self.family.denoiser): {"user": user}}


def save_grid(pictures: Tensor | Sequence[Tensor], path: Path, columns: int = 4, at_least: int = 256) -> None:
    """A PNG grid of pictures (N, 3, H, W) in [0, 1]; small ones are enlarged without smoothing."""
    pictures = pictures if isinstance(pictures, Tensor) else torch.stack(list(pictures))
    scale = max(1, at_least // pictures.shape[-1])
    pictures = pictures.repeat_interleave(scale, dim=-1).repeat_interleave(scale, dim=-2)
    grid = make_grid(pictures, nrow=min(columns, len(pictures)), padding=8, pad_value=1.0)
    buffer = BytesIO()
    Image.fromarray((grid.permute(1, 2, 0) * 255).round().clamp(0, 255).byte().numpy()).save(buffer, format="PNG")
    write_whole(path, buffer.getvalue())
