import pytest
import torch

from mmalign.shapes.render import render
from mmalign.shapes.scene import FACTORS, Scene, Style
from mmalign.shapes.tastes import Taste, measure, users

SCENES = [
    Scene("large", "blue", "square", "center", "white", Style(outline=0.2, shading=0.8, texture=0.1, softness=0.3)),
    Scene("small", "yellow", "circle", "left", "gray", Style(outline=0.9, shading=0.1, texture=0.7, softness=0.6)),
]


def test_measures_are_named_after_the_factors():
    measured = measure(render(SCENES))
    assert tuple(measured) == FACTORS
    assert measured["texture"].tolist() == pytest.approx([0.1, 0.7], abs=0.03)


def test_a_score_is_the_weighted_mean_of_the_measures():
    pictures = render(SCENES)
    measured = measure(pictures)
    expected = (2 * measured["outline"] - measured["softness"]) / 3
    torch.testing.assert_close(Taste({"outline": 2.0, "softness": -1.0}).score(pictures), expected)


def test_noise_enters_judgments_only_and_comes_from_the_generator():
    pictures, taste = render(SCENES), Taste({"shading": 1.0}, noise=0.5)
    assert torch.equal(taste.score(pictures), taste.score(pictures))
    first, again, other = (taste.judge(pictures, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_population_is_fixed_and_its_tastes_differ():
    assert len(users()) >= 24
    assert {"bold", "glossy", "plain"} <= set(users())
    rows = {tuple(user.weights.get(name, 0.0) for name in FACTORS) for user in users().values()}
    assert len(rows) == len(users())
    assert users()["ada"].weights == dict(users()["ada"].weights)
    assert any(user.noise for user in users().values())


@pytest.mark.parametrize(("weights", "message"), [({"size": 1.0}, "no style factor is called 'size'"), ({}, "not zero")])
def test_a_taste_of_nothing_or_of_captions_is_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        Taste(weights)
