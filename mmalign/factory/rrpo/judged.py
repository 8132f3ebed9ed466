"""Rewards as judges of answers: the right one and the model's own, scored under the film's frames side by side."""

import math
from collections.abc import Sequence

from PIL import Image

from mmalign.reward import Reward

COLUMNS = 4
"""Frames in a line of the picture that judges see."""
SIDE = 336
"""Pixels of a frame's longer side there, at most."""


def says_wrong(judges: Sequence[Reward], sheet: Image.Image, question: str, right: str, said: str, gap: float) -> bool | None:
    """Whether all judges score the model's answer below the right one by more than a gap; None where one gives no score.

    Args:
        judges: one or more.
        sheet: the frames side by side.
        gap: in the judges' units.
    """
    verdicts = []
    for judge in judges:
        texts = [f"{question} {text}" for text in (right, said)]
        best, own = judge.score([sheet, sheet], texts).tolist()
        if math.isnan(best) or math.isnan(own):
            return None
        verdicts.append((best - own if judge.higher_is_better else own - best) > gap)
    return all(verdicts)


def contact(frames: Sequence[Image.Image]) -> Image.Image:
    """Frames line by line, in their order, on white."""
    scale = min(1.0, SIDE / max(frames[0].size))
    width, height = (max(1, round(side * scale)) for side in frames[0].size)
    columns = min(COLUMNS, len(frames))
    page = Image.new("RGB", (columns * width, -(-len(frames) // columns) * height), "white")
    for place, frame in enumerate(frames):
        row, column = divmod(place, columns)
        page.paste(frame.resize((width, height), Image.Resampling.BICUBIC), (column * width, row * height))
    return page
