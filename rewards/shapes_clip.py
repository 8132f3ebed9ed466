"""The learned reward of the shapes world: a small CLIP trained on rankings of the embedded bases' own pictures."""

from mmalign.rewards.pickscore import PickScore
from mmalign.scorers.model import Dtype


class ShapesClip(PickScore):
    """How well a picture of the shapes world shows its caption, as a model has learned it: exp(logit_scale) times the cosine.

    It was trained as PickScore was, on preferences (``configs/reward/shapes_clip.yaml``); the ``oracle`` that made them reads pixels by
    rule and cannot be trained against. ``recipe.json`` beside the weights says how often the two agree.

    Args:
        device: where the model runs; "auto" = the accelerator where there is one.
        dtype: number format of the weights.
        batch_size: images scored at once.
    """

    unit = "log-odds under one caption"
    licence = "Apache-2.0"
    source = "mmalign.shapes, configs/reward/shapes_clip.yaml"

    def __init__(self, device: str = "auto", dtype: Dtype = "float32", batch_size: int = 64) -> None:
        super().__init__("shapes/clip", device=device, dtype=dtype, batch_size=batch_size)


PLUGIN = ShapesClip
