import math

import pytest
import torch
from safetensors.torch import save_file

from mmalign import rewards
from mmalign.errors import UserError
from mmalign.scorers.clip import ClipReward
from mmalign.scorers.decomposition import text_direction
from tests.rewards.members import Channel, plain
from tests.rewards.tiny import aesthetic, clip_score, hpsv2
from tests.rewards.tiny import pickscore as tiny

PROMPTS = ["a red circle", "two green dogs", "a photo of a cat", "a blue square"]
PICTURES = plain((0.5, 0.25, 0.0), (1.0, 0.75, 0.5), (0.1, 0.2, 0.9))


class Plane(ClipReward):
    """A scorer whose embeddings are known: an image's are its red and green, a prompt's the direction its first word says."""

    needs_prompt = True
    range = (-10.0, 10.0)
    unit = "ten cosines"
    licence = "Apache-2.0"
    source = "tests"
    angles = {"east": 0.0, "north": math.pi / 2, "northeast": math.pi / 4, "south": -math.pi / 2}  # noqa: RUF012

    def __init__(self, turned: float = 0.0) -> None:
        super().__init__("cpu")
        self.turned, self.asked = turned, []

    def prepare(self, image):
        raise NotImplementedError

    def prepare_tensor(self, images, differentiable):
        return images

    def text_embeddings(self, texts):
        self.asked.append(list(texts))
        angles = torch.tensor([self.angles.get(text.split()[0], 0.3 * len(text)) + self.turned for text in texts])
        return torch.stack([angles.cos(), angles.sin()], dim=1)

    def image_embeddings(self, pixels):
        return torch.nn.functional.normalize(pixels[:, :2].mean((-1, -2)), dim=-1)

    def compare(self, images, texts):
        return 10 * (images * texts).sum(-1)


class Clamped(Plane):
    def compare(self, images, texts):
        return super().compare(images, texts).clamp(min=0)


@pytest.fixture
def section(tmp_path):
    return {"name": "pickscore", **tiny.fields(tmp_path)}


@pytest.fixture
def pickscore(section):
    return rewards.load(**section)


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(PROMPTS))
    return str(path)


@pytest.fixture
def compass(tmp_path):
    """Prompts whose mean points east: north and south cancel."""
    path = tmp_path / "compass.txt"
    path.write_text("north\nsouth\neast\neast")
    return str(path)


def test_the_parts_computed_by_hand(compass):
    east, north = plain((1.0, 0.0, 0.0)), plain((0.0, 1.0, 0.0))
    half = math.sqrt(0.5)
    for part, to_east, to_north in [("relevant", 0.0, half), ("irrelevant", half, 0.0), ("reweighted", 0.3 * half, half)]:
        reward = rewards.load("long_align", scorer=Plane(), component=part, prompts=compass)
        assert reward.score(torch.cat([east, north]), "northeast").tolist() == pytest.approx([10 * to_east, 10 * to_north], abs=1e-5)


def test_the_parts_of_a_pickscore_add_up_to_it(pickscore, prompts):
    parts = {part: rewards.load("long_align", scorer=pickscore, component=part, prompts=prompts) for part in ("relevant", "irrelevant")}
    captions = ["a red circle", "a cat at the top", "two dogs"]
    relevant, irrelevant = (reward.score(PICTURES, captions) for reward in parts.values())
    torch.testing.assert_close(relevant + irrelevant, pickscore.score(PICTURES, captions), rtol=1e-5, atol=1e-4)
    assert irrelevant.abs().min() > 0.1
    half = rewards.load("long_align", scorer=pickscore, w=0.5, prompts=prompts).score(PICTURES, captions)
    torch.testing.assert_close(half, relevant + 0.5 * irrelevant, rtol=1e-5, atol=1e-4)
    whole = rewards.load("long_align", scorer=pickscore, w=1, prompts=prompts).score(PICTURES, captions)
    torch.testing.assert_close(whole, pickscore.score(PICTURES, captions), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("name", "written"), [("hpsv2", hpsv2), ("clip_score", clip_score)])
def test_the_parts_of_other_clips_add_up_to_them(name, written, prompts, tmp_path):
    scorer = rewards.load(name, **written.fields(tmp_path))
    parts = [rewards.load("long_align", scorer=scorer, component=part, prompts=prompts) for part in ("relevant", "irrelevant")]
    relevant, irrelevant = (reward.score(PICTURES, "a red circle") for reward in parts)
    torch.testing.assert_close(relevant + irrelevant, scorer.score(PICTURES, "a red circle"), rtol=1e-5, atol=1e-6)


def test_a_prefix_of_the_scorer_is_kept(prompts, tmp_path):
    fields = clip_score.fields(tmp_path)
    prefixed, bare = (rewards.load("clip_score", prefix=prefix, **fields) for prefix in ("a photo depicts ", ""))
    found = rewards.load("long_align", scorer=prefixed, w=1, prompts=prompts).score(PICTURES, "a cat")
    torch.testing.assert_close(found, bare.score(PICTURES, "a photo depicts a cat"), rtol=1e-5, atol=1e-6)


def test_it_is_the_published_formula_with_a_fixed_direction(pickscore, prompts):
    texts, images = pickscore.text_embeddings(PROMPTS[:3]), pickscore.image_embeddings(pickscore.prepare_tensor(PICTURES, False))
    shared = pickscore.text_embeddings(PROMPTS).mean(0)
    shared = shared / shared.norm()
    left = texts - (1 - 0.3) * (texts * shared).sum(-1, keepdim=True) * shared
    expected = pickscore.clip.logit_scale * (left @ images.T).diagonal()
    found = rewards.load("long_align", scorer=pickscore, prompts=prompts).score(PICTURES, PROMPTS[:3])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


def test_an_image_scores_the_same_alone_and_among_others(pickscore, prompts):
    reward = rewards.load("long_align", scorer=pickscore, prompts=prompts)
    alone = torch.cat([reward.score(image[None], prompt) for image, prompt in zip(PICTURES, PROMPTS, strict=False)])
    torch.testing.assert_close(reward.score(PICTURES, PROMPTS[:3]), alone, rtol=1e-5, atol=1e-4)


def test_gradients_of_the_parts_add_up(pickscore, prompts):
    def gradient(reward):
        pixels = PICTURES.clone().requires_grad_()
        reward.score(pixels, "a red circle", differentiable=True).sum().backward()
        return pixels.grad

    parts = [gradient(rewards.load("long_align", scorer=pickscore, component=part, prompts=prompts)) for part in ("relevant", "irrelevant")]
    torch.testing.assert_close(sum(parts), gradient(pickscore), rtol=1e-4, atol=1e-4)


def test_every_distinct_prompt_is_read_once(compass):
    scorer = Plane()
    reward = rewards.load("long_align", scorer=scorer, prompts=compass)
    scorer.asked.clear()
    reward.score(PICTURES, ["north", "east", "north"], batch_size=1)
    assert scorer.asked == [["north", "east"]]


def test_its_facts_are_its_scorers(compass):
    reward = rewards.load("long_align", scorer=Plane(), component="relevant", prompts=compass)
    assert (reward.range, reward.unit, reward.licence) == ((-10.0, 10.0), "ten cosines, relevant part", "Apache-2.0")


def test_a_direction_is_computed_once_and_read_back(section, pickscore, prompts, tmp_path):
    place = str(tmp_path / "v.safetensors")
    first = rewards.load("long_align", scorer=pickscore, prompts=prompts, direction=place)
    for fields in ({}, {"prompts": prompts}):
        again = rewards.load("long_align", scorer=pickscore, direction=place, **fields)
        assert torch.equal(again.vector, first.vector)
    assert torch.equal(rewards.load("long_align", scorer=section, direction=place).vector, first.vector)


def test_the_direction_of_a_set_is_its_normalized_mean():
    # unit embeddings at 0 and 90 degrees
    found = text_direction(Plane(), ["east", "north"])
    assert found.vector.tolist() == pytest.approx([math.sqrt(0.5)] * 2)
    assert found.count == 2


def test_another_scorers_direction_is_refused(compass, pickscore, tmp_path):
    place = str(tmp_path / "v.safetensors")
    rewards.load("long_align", scorer=Plane(), prompts=compass, direction=place)
    rewards.load("long_align", scorer=Plane(turned=0.1), direction=place)  # a cosine of 0.995
    for other in (Plane(turned=0.2), pickscore):
        with pytest.raises(UserError, match=r"direction of another scorer \(Plane\)"):
            rewards.load("long_align", scorer=other, direction=place)


def test_other_prompts_than_the_files_are_refused(compass, prompts, tmp_path):
    place = str(tmp_path / "v.safetensors")
    rewards.load("long_align", scorer=Plane(), prompts=compass, direction=place)
    with pytest.raises(UserError, match=r"v.safetensors is the direction of 4 other prompts than those of .*prompts.txt"):
        rewards.load("long_align", scorer=Plane(), prompts=prompts, direction=place)


def test_files_that_hold_no_direction(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"no tensors")
    save_file({"vector": torch.zeros(2)}, tmp_path / "b.safetensors")
    for name, said in [("a", "cannot be read as a direction"), ("b", "is no direction"), ("c", "cannot be read as a direction")]:
        with pytest.raises(UserError, match=f"{name}.safetensors {said}"):
            rewards.load("long_align", scorer=Plane(), direction=str(tmp_path / f"{name}.safetensors"))


def test_what_cannot_be_taken_apart_is_refused(compass, tmp_path):
    clamped = rewards.load("clip_score", form="clipscore", **clip_score.fields(tmp_path))
    rating = rewards.load("aesthetic", **aesthetic.fields(tmp_path))
    for scorer in ("colorfulness", Channel(), rating):
        with pytest.raises(UserError, match="does not compare embeddings of images and prompts"):
            rewards.load("long_align", scorer=scorer, prompts=compass)
    for scorer in (Clamped(), clamped):
        with pytest.raises(UserError, match="not linear in the cosine"):
            rewards.load("long_align", scorer=scorer, prompts=compass)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "needs prompts"),
        ({"prompts": "none.txt"}, "cannot read prompts from none.txt"),
        ({"prompts": "shapes/sen"}, "did you mean 'seen'"),
        ({"prompts": "shapes/seen", "component": "relevnt"}, "component is 'relevnt', it should be 'relevant'"),
        ({"prompts": "shapes/seen", "component": "relevant", "w": 0.3}, "leave w out"),
        ({"prompts": "shapes/seen", "w": 1.5}, "w is 1.5"),
    ],
)
def test_a_mistake_is_a_sentence(fields, said):
    with pytest.raises(UserError, match=said):
        rewards.load("long_align", scorer=Plane(), **fields)


def test_a_mistake_in_the_scorer_has_its_path():
    with pytest.raises(UserError, match=r"unknown key 'scorer.pretraind'; did you mean 'pretrained'"):
        rewards.load("long_align", scorer={"name": "pickscore", "pretraind": "x"}, prompts="shapes/seen")


def test_one_prompt_has_no_direction():
    with pytest.raises(UserError, match="two different prompts"):
        text_direction(Plane(), ["east", "east"])
