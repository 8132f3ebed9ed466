"""A scorer whose every score is painted into the picture, as the source of a plug-in of a third party."""

from PIL import Image

SCORER = '''
from mmalign.reward import Reward

class Painted(Reward):
    """The red of a picture, 0 to 255; no score where it is green."""

    needs_prompt = False
    differentiable = False
    range = (0.0, 255.0)
    unit = "red of 255"
    licence = "none"
    source = "test"
    calls = []

    def __init__(self, factor: float = 1.0):
        """Args:
            factor: what the red is multiplied by.
        """
        self.factor = factor

    def _score(self, images, prompts):
        self.calls.append(len(images))
        red = (255 * images[:, 0, 0, 0]).round()
        red[images[:, 1, 0, 0] > 0.5] = float("nan")
        return self.factor * red

PLUGIN = Painted
'''


def paint(path, red, green=0):
    """A picture with the score ``red``; with ``green`` 255 it has none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (red, green, 0)).save(path)
