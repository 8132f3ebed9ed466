import pytest
import torch

from mmalign.shapes.render import BACKGROUND_RGB, OUTLINE_RGB, SHAPE_RGB, draw, layers, render
from mmalign.shapes.scene import ATTRIBUTES, Scene, Style, attribute_indices, every_scene, style_values

PLAIN = Scene("large", "red", "circle", "center", "white")


def test_there_are_1200_scenes_and_each_has_its_indices():
    scenes = list(every_scene())
    assert len(set(scenes)) == 1200
    indices = attribute_indices(scenes)
    words = [tuple(names[i] for names, i in zip(ATTRIBUTES.values(), row, strict=True)) for row in indices.tolist()]
    assert words == [(s.size, s.color, s.shape, s.position, s.background) for s in scenes]


def test_unknown_words_and_styles_outside_the_unit_interval_are_refused():
    with pytest.raises(ValueError, match="shape 'hexagon' is not one of circle"):
        Scene("large", "red", "hexagon", "center", "white")
    with pytest.raises(ValueError, match="outline is 1.5"):
        Style(outline=1.5)


def test_a_plain_picture_has_the_colors_of_its_words_in_their_places():
    picture = render([PLAIN])[0]
    assert picture.shape == (3, 64, 64)
    torch.testing.assert_close(picture[:, 32, 32], SHAPE_RGB[0], atol=0.01, rtol=0)
    torch.testing.assert_close(picture[:, 2, 2], BACKGROUND_RGB[0], atol=0.01, rtol=0)


def test_an_outline_is_dark_and_lies_on_the_edge():
    picture = render([Scene("large", "red", "circle", "center", "white", Style(outline=1.0))])[0]
    torch.testing.assert_close(picture[:, 32, 32 + 17], OUTLINE_RGB, atol=0.02, rtol=0)


def test_layers_add_up_to_one():
    distance = torch.linspace(-10, 10, 81).expand(3, 81)
    total = sum(layers(distance, torch.tensor([0.0, 2.0, 4.0]), torch.tensor([0.4, 1.0, 2.4])))
    torch.testing.assert_close(total, torch.ones(3, 81))


def test_a_batch_is_drawn_as_its_pictures_alone():
    scenes = [PLAIN, Scene("small", "blue", "cross", "top", "gray", Style(0.2, 0.4, 0.6, 0.8, 1.0))]
    torch.testing.assert_close(render(scenes), torch.cat([render([scene]) for scene in scenes]))


def test_every_style_factor_changes_the_picture_and_none_changes_a_clear_corner_of_it():
    plain = style_values([Scene("large", "red", "square", "center", "white", Style(0.5, 0.5, 0.5, 0.5, 0.5))])
    changed = plain.repeat(5, 1) + 0.5 * torch.eye(5)
    attributes = attribute_indices([Scene("large", "red", "square", "center", "white")])
    difference = (draw(attributes.repeat(5, 1), changed) - draw(attributes, plain)).abs()
    assert (difference.amax((1, 2, 3)) > 0.05).all()
    assert (difference[[0, 1, 3, 4], :, :4, :4].amax((1, 2, 3)) < 1e-3).all()
