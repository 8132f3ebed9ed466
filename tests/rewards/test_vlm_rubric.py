"""The rubric on a judge whose answers are known: which one it gives is asked of the model itself, one picture at a time."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from mmalign import rewards
from mmalign.errors import UserError
from mmalign.scorers.rubric import Rubric
from tests.rewards.tiny.vlm_rubric import ANSWERS, ASPECTS, RATINGS, fields
from tests.tiny_vlms import make_scripted

PROMPTS = ["a large red circle", 'two {green} "dogs"', "", "a photo of a cat " * 5, "x", "a", "a blue square"]
SIZES = [(60, 60), (131, 40), (33, 101), (50, 70), (50, 40), (1, 1), (80, 80)]
PICTURES = [Image.fromarray(np.random.default_rng(w * h).integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in SIZES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("vlm_rubric")


@pytest.fixture(scope="module")
def tiny(folder):
    return fields(folder)


@torch.no_grad()
def said(reward, image, question):
    processor = reward.judge.processor
    chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]
    inputs = processor(text=[processor.apply_chat_template(chat, add_generation_prompt=True)], images=[image], return_tensors="pt")
    written = reward.judge.model.generate(**inputs, max_new_tokens=8, do_sample=False)
    return processor.batch_decode(written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0]


@pytest.mark.parametrize("weights", [None, {"prompt-following": 3, "fidelity": 1}, {"aesthetic": 0.5, "harmlessness": 0}])
def test_the_score_is_the_weighted_mean_of_the_ratings(weights, tiny):
    reward = rewards.load("vlm_rubric", **tiny, weights=weights, batch_size=3)
    answers = [said(reward, image, reward.rubric.question(prompt)) for image, prompt in zip(PICTURES, PROMPTS, strict=True)]
    assert len(set(answers)) > 1
    w = np.array([(weights or dict.fromkeys(ASPECTS, 1)).get(aspect, 0) for aspect in ASPECTS])
    expected = [float(w @ np.array(RATINGS[ANSWERS.index(answer)]) / w.sum()) for answer in answers]
    assert reward.score(PICTURES, PROMPTS).tolist() == pytest.approx(expected, abs=1e-6)


def test_annotations_have_ratings_reasons_and_the_whole_answer(tiny):
    reward = rewards.load("vlm_rubric", **tiny, batch_size=2)
    for image, prompt, annotation in zip(PICTURES, PROMPTS, reward.annotate(iter(PICTURES), PROMPTS), strict=True):
        answer = json.loads(annotation.text)
        assert annotation.text == said(reward, image, reward.rubric.question(prompt))
        assert annotation.ratings == {aspect: answer[aspect]["rating"] for aspect in ASPECTS}
        assert annotation.rationales == {aspect: f"the {aspect} is so" for aspect in ASPECTS}


def test_own_aspects_are_asked_for(folder, tiny):
    reward = rewards.load("vlm_rubric", **tiny, aspects={"humor": "it makes one laugh", "aesthetic": ""})
    assert "- humor: it makes one laugh\n- aesthetic\n" in reward.question(PICTURES[0], "x", "").text


def test_a_missing_rating_is_not_a_number_and_is_reported_unless_it_weighs_nothing(tmp_path):
    answer = '{"prompt-following": 4, "aesthetic": 2, "fidelity": 9, "harmlessness": 5}'
    make_scripted("qwen2_vl", tmp_path, [answer], Rubric(dict.fromkeys(ASPECTS, "")).question("x"))
    reward = rewards.load("vlm_rubric", pretrained=str(tmp_path), dtype="float32")
    assert math.isnan(reward.score(PICTURES[:1], "a circle").item())
    (failure,) = reward.failures
    assert (failure.place, failure.image, failure.prompt, failure.text) == (0, "image 0", "a circle", answer)
    (annotation,) = reward.annotate(PICTURES[:1], "a circle")
    assert annotation.ratings == {"prompt-following": 4, "aesthetic": 2, "harmlessness": 5}
    assert len(reward.failures) == 1
    reward = rewards.load("vlm_rubric", pretrained=str(tmp_path), dtype="float32", weights={"prompt-following": 1, "aesthetic": 1})
    assert reward.score(PICTURES[:1], "a circle").item() == 3
    assert list(reward.failures) == []


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"weights": {"fidelty": 1}}, "fidelity"),
        ({"weights": {"fidelity": -1}}, "0 or more"),
        ({"weights": {"fidelity": math.nan}}, "0 or more"),
        ({"weights": {"fidelity": 0}}, "more than 0"),
        ({"aspects": {}}, "no aspects"),
    ],
)
def test_weights_that_make_no_mean_are_refused(extra, message):
    with pytest.raises(UserError, match=message):
        rewards.load("vlm_rubric", pretrained="nowhere/at-all", **extra)


def test_the_default_aspects_are_visionprefer_s(tiny):
    rubric = rewards.load("vlm_rubric", **tiny).rubric
    assert isinstance(rubric, Rubric)
    assert tuple(rubric.aspects) == ASPECTS
