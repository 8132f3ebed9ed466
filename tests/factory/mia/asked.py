"""Questions of the embedded world, and prompts made of them."""

from random import Random

from PIL import Image

from mmalign.factory.questions import Asked
from mmalign.shapes.questions import ONE, about_one
from mmalign.shapes.render import render
from mmalign.shapes.scene import every_scene


def picture(scene) -> Image.Image:
    return Image.fromarray((render([scene])[0].permute(1, 2, 0) * 255).round().byte().numpy())


def questions(count: int, seed: int = 0) -> list[Asked]:
    """Questions about pictures of which no two are the same."""
    draw = Random(seed)
    asked = [about_one(scene, draw.choice(ONE), draw) for scene in draw.sample(list(every_scene()), count)]
    return [Asked(q.text, q.answer, (picture(q.scenes[0]),), origin=f"row {i}", name=str(i)) for i, q in enumerate(asked)]
