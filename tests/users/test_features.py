"""Features against the scorers' own embeddings, and against the hidden states that transformers gives."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from mmalign import rewards
from mmalign.data.schema import Example
from mmalign.errors import UserError
from mmalign.users.features import Features
from tests.rewards.tiny.hpsv2 import fields as hpsv2_fields
from tests.rewards.tiny.pickscore import fields as pickscore_fields


def pictures(count, seed=0):
    numbers = np.random.default_rng(seed)
    sizes = [tuple(numbers.integers(30, 90, 2)) for _ in range(count)]
    return [Image.fromarray(numbers.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]


@pytest.fixture(scope="module")
def scorers(tmp_path_factory):
    made = {
        "shapes_clip": {},
        "pickscore": pickscore_fields(tmp_path_factory.mktemp("p")),
        "hpsv2": hpsv2_fields(tmp_path_factory.mktemp("h")),
    }
    return {name: {"name": name, **given, "batch_size": 3} for name, given in made.items()}


@pytest.mark.parametrize("name", ["shapes_clip", "pickscore", "hpsv2"])
def test_the_embedding_is_the_scorers_own(scorers, name):
    few = pictures(5)
    reward = rewards.load(name, **{key: value for key, value in scorers[name].items() if key != "name"})
    own = torch.cat([reward.image_embeddings(reward.prepare(picture)[None]) for picture in few])
    alone, layers = Features(scorers[name], "embedding").of(few), Features(scorers[name], "layers").of(few)
    assert_close(alone, own, rtol=1e-5, atol=1e-6)
    assert_close(layers[:, : own.shape[1]], own, rtol=1e-5, atol=1e-6)
    scores = reward.compare(alone, reward.text_embeddings(["a cat"] * 5))
    assert_close(scores, reward.score(few, "a cat"), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_layers_are_the_means_and_deviations_of_hidden_states(scorers):
    made, few = Features(scorers["shapes_clip"]), pictures(4)
    clip = made.reward.clip
    pixels = torch.stack([made.reward.prepare(picture) for picture in few])
    states = clip.model.vision_model(pixel_values=pixels, output_hidden_states=True).hidden_states
    wanted = [torch.stack([state.mean(1), state.std(1, correction=0)], 1).flatten(1) for state in states]
    assert len(states) == 5  # a tower of four blocks is looked at before the first and after each
    assert_close(made.of(few)[:, 64:], torch.cat(wanted, 1), rtol=1e-4, atol=1e-5)


def test_what_was_made_is_kept_by_model_and_pixels(scorers, tmp_path, monkeypatch):
    first, few = Features(scorers["pickscore"], cache=tmp_path), pictures(4)
    made = first.of([*few, few[0]])
    assert torch.equal(made[4], made[0])
    again = Features(scorers["pickscore"], cache=tmp_path)
    monkeypatch.setattr(type(again.reward), "image_embeddings", lambda *_: pytest.fail("made anew"))
    assert torch.equal(again.of(few[::-1]), made[:4].flip(0))
    assert again.identity() == first.identity()
    assert Features(scorers["pickscore"], "embedding", tmp_path).identity() != first.identity()
    assert Features(scorers["shapes_clip"]).identity() != first.identity()


def test_choices_keep_people_and_sides_apart(scorers):
    made, few = Features(scorers["shapes_clip"], "embedding"), pictures(6)
    people = [[Example("x", (few[0], few[1]))], [Example("x", (few[2], few[3])), Example("y", (few[4], few[5]))]]
    found, rows = made.choices(people), made.of(few)
    assert found.prompts[found.there].tolist() == [0, 0, 1]
    unsaid = made.choices([[Example("", (few[0], few[1])), Example("", (few[2], few[3]))]])
    assert unsaid.prompts[0, 0] != unsaid.prompts[0, 1]
    assert found.there.tolist() == [[True, False], [True, True]]
    assert torch.equal(found.chosen[found.there], rows[[0, 2, 4]])
    assert torch.equal(found.rejected[found.there], rows[[1, 3, 5]])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("oracle",), "'oracle' is no scorer of the CLIP type"),
        (("shapes_clap",), "shapes_clip"),
        (("shapes_clip", "layer"), "no features 'layer'; did you mean 'layers'"),
        (({"pretrained": "x"},), "the scorer has no name"),
    ],
)
def test_what_has_no_features_is_told(given, words):
    with pytest.raises(UserError, match=words):
        Features(*given)
