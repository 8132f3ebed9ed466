import pytest

from mmalign import rewards
from mmalign.errors import UserError
from mmalign.shapes.render import render
from mmalign.shapes.scene import Scene, Style

PLAIN = Scene("large", "blue", "square", "center", "white")
BOLD = Scene("large", "blue", "square", "center", "white", Style(outline=1.0))


def test_bold_likes_outlines_and_thin_does_not():
    pictures = render([PLAIN, BOLD])
    plain, bold = rewards.load("taste", user="bold").score(pictures)
    assert bold > plain + 0.5
    plain, bold = rewards.load("taste", user="thin").score(pictures)
    assert bold < plain - 0.5


def test_weights_are_normalized_to_a_mean():
    pictures = render([BOLD])
    once, twice = (rewards.load("taste", weights={"outline": weight}).score(pictures) for weight in (1.0, 2.0))
    assert once.item() == pytest.approx(twice.item()) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"user": "bald"}, "bold"),
        ({"weights": {"outlines": 1.0}}, "outlines"),
        ({"weights": {"outline": 0.0}}, "not zero"),
        ({"user": "bold", "weights": {"outline": 1.0}}, "not both"),
    ],
)
def test_what_it_does_not_know_is_said_in_a_sentence(fields, message):
    with pytest.raises(UserError, match=message):
        rewards.load("taste", **fields)
