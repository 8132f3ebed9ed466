import pytest
import torch

from mmalign.shapes.captions import caption
from mmalign.shapes.edges import measure_factors
from mmalign.shapes.oracle import count_right, matches, read
from mmalign.shapes.render import draw, render
from mmalign.shapes.scene import ATTRIBUTES, FACTORS, SHAPES, Scene, every_scene


@pytest.fixture(scope="module")
def world():
    """Every caption once, in a random style: pictures, attributes, styles."""
    generator = torch.Generator().manual_seed(7)
    scenes = list(every_scene())
    attributes = torch.cartesian_prod(*(torch.arange(len(words)) for words in ATTRIBUTES.values()))
    styles = torch.rand(len(scenes), len(FACTORS), generator=generator)
    return draw(attributes, styles), attributes, styles


def ranks(values):
    return values.argsort().argsort().float()


def rank_correlation(first, second):
    return torch.corrcoef(torch.stack([ranks(first), ranks(second)]))[0, 1].item()


def test_it_reads_more_than_99_percent_of_clean_renders_right_in_any_style(world):
    pictures, attributes, _ = world
    right = read(pictures).attributes == attributes
    assert (right.float().mean(0) > 0.995).all()
    assert right.all(1).float().mean() > 0.99


def test_noise_of_a_twentieth_does_not_matter(world):
    pictures, attributes, _ = world
    noised = pictures[::3] + 0.05 * torch.randn(pictures[::3].shape, generator=torch.Generator().manual_seed(0))
    assert (read(noised.clamp(0, 1)).attributes == attributes[::3]).all(1).float().mean() > 0.98


@pytest.mark.parametrize(("factor", "least"), [("outline", 0.97), ("shading", 0.95), ("texture", 0.97), ("tilt", 0.95), ("softness", 0.95)])
def test_style_measures_follow_the_factors_drawn(world, factor, least):
    pictures, attributes, styles = world
    index = FACTORS.index(factor)
    turns = attributes[:, 2] != SHAPES.index("circle") if factor == "tilt" else torch.ones(len(pictures), dtype=torch.bool)
    measured = measure_factors(pictures)
    assert measured.min() >= 0
    assert measured.max() <= 1
    assert rank_correlation(measured[turns, index], styles[turns, index]) > least


def test_style_measures_do_not_follow_other_factors(world):
    pictures, _, styles = world
    both = torch.corrcoef(torch.cat([measure_factors(pictures), styles], dim=1).T)[:5, 5:]
    assert (both - torch.diag(both.diag())).abs().max() < 0.2


def test_words_are_none_where_nothing_can_be_read():
    readings = read(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert readings.words(0)["shape"] is None
    assert read(render([Scene("large", "red", "cross", "top", "pink")])).words(0) == {
        "size": "large",
        "color": "red",
        "shape": "cross",
        "position": "top",
        "background": "pink",
    }


def test_pictures_of_another_size_are_resized():
    scene = Scene("small", "orange", "square", "right", "cyan")
    large = torch.nn.functional.interpolate(render([scene]), scale_factor=3)
    assert count_right(large, [caption(scene)]).item() == 5


def test_matches_names_which_attribute_is_wrong():
    scene = Scene("small", "orange", "square", "right", "cyan")
    other = Scene("small", "orange", "circle", "right", "cyan")
    assert matches(render([scene]), [caption(other)]).tolist() == [[True, True, False, True, True]]


def test_one_prompt_per_image_is_needed():
    with pytest.raises(ValueError, match="1 images but 2 prompts"):
        count_right(torch.zeros(1, 3, 64, 64), ["a", "b"])
