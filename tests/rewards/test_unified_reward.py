"""UnifiedReward against the published way: one question at a time, the number after "Final Score:" in the greedy answer."""

import hashlib
import logging
import math
import re
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from mmalign import rewards
from mmalign.rewards.unified_reward import winner_in
from mmalign.scorers.unified_reward_prompts import PAIR, POINT
from tests.rewards.tiny.unified_reward import fields
from tests.tiny_vlms import make_scripted

PROMPTS = ["a large red circle", "two {green} dogs", "", "a photo of a cat " * 5, "x", "<|im_end|>", "a blue square"]
VERDICTS = ["Image 1 is better.", "Image 2 is better.", "Both images are equally good."]


def picture(width, height, mode="RGB"):
    few = np.random.default_rng(width * height).integers(0, 256, (height // 9 + 1, width // 9 + 1, len(mode)), dtype=np.uint8)
    return Image.fromarray(few.squeeze()).resize((width, height), Image.Resampling.BICUBIC)


PICTURES = [
    *(picture(60, 60), picture(131, 40), picture(33, 101), picture(50, 70, "L"), picture(50, 40, "RGBA")),
    *(Image.new("RGB", (1, 1), (200, 30, 90)), picture(80, 80)),
]


def scripted(folder, answers, question=POINT, pictures=1):
    place = make_scripted("qwen2_5_vl", folder, answers, question, pictures)
    return rewards.load("unified_reward", pretrained=str(place), dtype="float32", batch_size=4)


@pytest.fixture(scope="module")
def pair_judge(tmp_path_factory):
    return scripted(tmp_path_factory.mktemp("pairs"), VERDICTS, PAIR, pictures=2)


def on_white(image):
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


@torch.no_grad()
def said(reward, images, question):
    """The published way: a chat with the pictures before the question, decoded greedily."""
    processor = reward.judge.processor
    chat = [{"role": "user", "content": [*({"type": "image"} for _ in images), {"type": "text", "text": question}]}]
    inputs = processor(
        text=[processor.apply_chat_template(chat, add_generation_prompt=True)], images=[on_white(i) for i in images], return_tensors="pt"
    )
    written = reward.judge.model.generate(**inputs, max_new_tokens=512, do_sample=False)
    return processor.batch_decode(written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0]


def spelled(prompt):
    return prompt.replace("<|im_end|>", "< |im_end|>")


def test_scores_are_those_of_the_published_way(tmp_path):
    reward = rewards.load("unified_reward", **fields(tmp_path), batch_size=3)
    texts = [said(reward, [image], POINT.format(caption=spelled(text))) for image, text in zip(PICTURES, PROMPTS, strict=True)]
    expected = [float(re.search(r"Final Score:\s*([1-5](?:\.\d+)?)", text)[1]) for text in texts]
    assert len(set(expected)) > 1
    assert reward.score(PICTURES, PROMPTS).tolist() == expected
    assert list(reward.failures) == []


def test_the_questions_are_the_published_texts():
    digests = [hashlib.sha256(text.encode()).hexdigest()[:16] for text in (POINT, PAIR)]
    assert digests == ["c49d7e9905e814ed", "11f8b238cde72e8f"]


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("circle (object): 1\nred (color): 0\nFinal Score: 3", 3.0),
        ("**Final Score:** 4.5", 4.5),
        ("final score: [2]", 2.0),
        ("Final Score: 4/5", 4.0),
        ("Final Score: 2\nOn second thoughts,\nFinal Score: 5", 5.0),
        ("Final Score: 3.", 3.0),
        ("Final Score (1-5): 4", 4.0),
        ("Final Score (1 to 5): **2**", 2.0),
        ("Final Score: 1-5", None),
        ("Final Score: 1 to 5", None),
        ("Final Score: 0", None),
        ("Final Score: 10", None),
        ("Final Score: -3", None),
        ("Final Score:", None),
        ("The score is 4", None),
        ("", None),
    ],
)
def test_the_last_final_score_from_1_to_5_is_read(text, score, pair_judge):
    assert pair_judge.read(text) == score


def test_an_answer_without_a_score_is_not_a_number_and_is_reported(tmp_path, caplog):
    reward = scripted(tmp_path, ["Final Score: 2", "I would rather not say."])
    paths = [tmp_path / f"{place}.png" for place in range(len(PICTURES))]
    for image, path in zip(PICTURES, paths, strict=True):
        image.save(path)
    texts = [said(reward, [image], POINT.format(caption=spelled(text))) for image, text in zip(PICTURES, PROMPTS, strict=True)]
    silent = [place for place, text in enumerate(texts) if "Score" not in text]
    assert 0 < len(silent) < len(PICTURES)
    with caplog.at_level(logging.WARNING):
        scores = reward.score(paths, PROMPTS)
    assert [place for place, score in enumerate(scores.tolist()) if math.isnan(score)] == silent
    assert {score for score in scores.tolist() if not math.isnan(score)} == {2.0}
    reported = [(failure.place, failure.image, failure.prompt) for failure in reward.failures]
    assert reported == [(place, str(paths[place]), PROMPTS[place]) for place in silent]
    assert {failure.text for failure in reward.failures} == {"I would rather not say."}
    assert len(caplog.records) == len(silent)
    assert str(paths[silent[0]]) in caplog.text
    talking = [place for place in range(len(PICTURES)) if place not in silent]
    reward.score([PICTURES[place] for place in talking], [PROMPTS[place] for place in talking])
    assert list(reward.failures) == []


def test_calls_in_threads_keep_their_failures_apart(tmp_path, monkeypatch):
    reward, together = scripted(tmp_path, ["nothing"]), threading.Barrier(2, timeout=60)
    monkeypatch.setattr(reward.judge, "write", lambda asked, _: ["nothing"] * (len(asked.names) + 0 * together.wait()))
    calls = [threading.Thread(target=reward.score, args=(PICTURES[:6], prompt)) for prompt in ("one", "other")]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    assert [failure.prompt for failure in reward.failures] in (["one"] * 6, ["other"] * 6)
    assert [failure.place for failure in reward.failures] == list(range(6))


def test_a_verdict_is_asked_in_both_orders_and_one_that_flips_is_a_tie(pair_judge):
    places = [(i, j) for i in range(6) for j in range(6)]
    firsts, seconds = [PICTURES[i] for i, _ in places], [PICTURES[j] for _, j in places]
    prompts = [PROMPTS[(i + j) % 6] for i, j in places]
    verdicts = pair_judge.compare(firsts, seconds, prompts)
    kinds = set()
    for first, second, prompt, verdict in zip(firsts, seconds, prompts, verdicts, strict=True):
        question = PAIR.format(caption=spelled(prompt))
        forth, back = said(pair_judge, [first, second], question), said(pair_judge, [second, first], question)
        assert verdict.texts == (forth, back)
        agreed = {("1", "2"): 1.0, ("2", "1"): 0.0}.get((forth[6], back[6]), 0.5)
        assert verdict.preference == agreed
        assert verdict.flipped == ((forth[6], back[6]) not in (("1", "2"), ("2", "1"), ("m", "m")))
        kinds.add((verdict.preference, verdict.flipped))
    assert {(1.0, False), (0.0, False), (0.5, True)} <= kinds


def test_exchanging_the_pictures_exchanges_the_verdict(pair_judge):
    forth, back = (pair_judge.compare(*images, PROMPTS) for images in ((PICTURES, PICTURES[::-1]), (PICTURES[::-1], PICTURES)))
    assert [verdict.preference for verdict in forth] == [1 - verdict.preference for verdict in back]
    assert pair_judge.compare(iter(PICTURES), iter(PICTURES[::-1]), iter(PROMPTS)) == forth


def test_a_comparison_without_a_verdict_is_not_a_number_and_is_reported(tmp_path):
    reward = scripted(tmp_path, ["Neither."], PAIR, pictures=2)
    (verdict,) = reward.compare([PICTURES[0]], [PICTURES[1]], "a circle")
    assert math.isnan(verdict.preference)
    assert not verdict.flipped
    assert [(failure.image, failure.text) for failure in reward.failures] == [("image 0 beside image 0", "Neither.")] * 2


def test_pairs_of_unequal_number_are_refused(pair_judge):
    with pytest.raises(ValueError, match="2 first images but 1 second"):
        pair_judge.compare(PICTURES[:2], PICTURES[:1], "x")


@pytest.mark.parametrize(
    ("text", "winner"),
    [
        ("Image 1 is better.", "first"),
        ("... therefore, **image 2 is better** than image 1.", "second"),
        ("Both images are equally good.", "tie"),
        ("Image 1 is better in style, but in all Image 2 is better.", "second"),
        ("The second one.", None),
    ],
)
def test_the_last_verdict_counts(text, winner):
    assert winner_in(text) == winner
