"""Models that draw films: how many frames a clip has, and what only they can be asked for."""

from mmalign.config import DataConfig, RunConfig
from mmalign.diffusion.family import DiffusionFamily
from mmalign.errors import UserError


def frames_of(family: DiffusionFamily, config: DataConfig) -> int | None:
    """Frames of a training clip; None for models of pictures."""
    return None if family.default_frames is None else config.frames or family.default_frames


def check_films(family: DiffusionFamily, config: RunConfig) -> None:
    """Raises UserError where pictures are asked for what only films have, or clips are of a wrong length or size."""
    family.sized(**config.validation.size, prefix="validation.")
    if family.default_frames is None:
        given = next((key for key in ("frames", "fps") if getattr(config.data, key) is not None), None)
        if given is not None:
            raise UserError(f"data.{given} is for models of films, which {family.name} is not; leave it out")
        return
    family.latent_shape(family.side_multiple, family.side_multiple, frames_of(family, config.data))
