"""The recipe of the world's vision-language model: what it is trained on is what its processor gives, text and pictures alike."""

import json
from random import Random

import pytest
import torch
from PIL import Image

from mmalign import pipelines
from mmalign.evaluation.answers.questions import load_questions
from mmalign.evaluation.answers.sides import answer_all
from mmalign.shapes import build, models
from mmalign.shapes.asked import draw, put
from mmalign.shapes.captions import prompts
from mmalign.shapes.exam import exam
from mmalign.shapes.questions import hallucinated
from mmalign.shapes.recipes import vlm
from mmalign.shapes.render import render
from mmalign.vlm.load import load_model

KINDS = [("one", 1), ("named", 3), ("together", 5), ("clips", 4)]


@pytest.fixture(scope="module")
def words():
    return vlm.tokenizer()


@pytest.mark.parametrize(("kind", "count"), KINDS)
def test_training_text_is_that_of_the_chat_template(words, kind, count):
    processor, numbers = vlm.processor(words), Random(0)
    for _ in range(20):
        asked = draw(prompts("seen"), kind, count, numbers)
        said = {"role": "assistant", "content": [{"type": "text", "text": asked.question.answer}]}
        turns = [{"role": "user", "content": list(asked.content)}]
        assert processor.apply_chat_template([*turns, said]).replace("<image>", "<image>" * vlm.TOKENS) == vlm.chat(asked)
        head = processor.apply_chat_template(turns, add_generation_prompt=True)
        assert head.replace("<image>", "<image>" * vlm.TOKENS) == vlm.chat(asked, answered=False)


def test_tokens_and_pictures_are_those_of_the_processor(words):
    processor = vlm.processor(words)
    asked = [draw(prompts("seen"), "named", 2, Random(seed)) for seed in range(3)]
    batch = vlm.tensors(words, [[one] for one in asked])
    chats = [vlm.chat(one).replace("<image>" * vlm.TOKENS, "<image>") for one in asked]
    pictures = [[picture(scene) for scene in one.scenes] for one in asked]
    told = processor(text=chats, images=pictures, return_tensors="pt", padding=True, padding_side="right")
    assert torch.equal(batch["input_ids"], told["input_ids"])
    assert torch.equal(batch["attention_mask"], told["attention_mask"])
    assert (batch["pixel_values"] - told["pixel_values"]).abs().mean() < 0.02


def picture(scene):
    return Image.fromarray((render([scene])[0] * 255).round().byte().permute(1, 2, 0).numpy())


def test_only_answers_are_learned(words):
    asked = [draw(prompts("seen"), "one", 1, Random(seed)) for seed in range(8)]
    batch = vlm.tensors(words, [[one] for one in asked])
    for one, labels in zip(asked, batch["labels"], strict=True):
        assert words.decode(labels[labels != -100]) == f" {one.question.answer}</s>"


@pytest.mark.parametrize(("kind", "count"), KINDS)
def test_a_chat_of_several_turns_is_that_of_the_template(words, kind, count):
    processor = vlm.processor(words)
    turns = vlm.talk(prompts("seen"), kind, count, vlm.Stage(1, 1.0, vlm.Mix(), turns=4), Random(0))
    said = []
    for place, turn in enumerate(turns):
        asked = list(turn.content) if place == 0 else [{"type": "text", "text": turn.content[-1]["text"].strip()}]
        said += [{"role": "user", "content": asked}, {"role": "assistant", "content": [{"type": "text", "text": turn.question.answer}]}]
    whole = processor.apply_chat_template(said).replace("<image>", "<image>" * vlm.TOKENS).replace(" USER:", "USER:")
    batch = vlm.tensors(words, [turns])
    assert batch["input_ids"][0].tolist() == words(whole, add_special_tokens=False).input_ids
    learned = batch["input_ids"][0][batch["labels"][0] != -100]
    assert words.decode(learned) == "".join(f" {turn.question.answer}</s>" for turn in turns)


def test_what_is_mixed_up_is_about_the_next_picture():
    for seed in range(20):
        asked = put(prompts("seen"), "named", "color", 3, Random(seed))
        assert vlm.mixed_up(asked, Random(0)).question.answer == asked.scenes[(asked.target + 1) % 3].color
    clip = put(prompts("seen"), "clips", "clip", 4, Random(0))
    told = vlm.mixed_up(clip, Random(0)).question
    assert [told.answer[start:stop] for start, stop in hallucinated(clip.question, told.answer)] == [
        getattr(vlm.following(clip.scenes[0], name), name) for name in ("size", "background")
    ]
    one = put(prompts("seen"), "one", "color", 1, Random(0))
    assert vlm.mixed_up(one, Random(0)) is one


def test_a_few_steps_learn_something(words):
    torch.manual_seed(0)
    stages = [vlm.Stage(steps, 3e-3, vlm.Mix()) for steps in (1, 20)]
    losses = [vlm.train(vlm.build(words), words, stage=stage, batch=8).record["loss"] for stage in stages]
    assert losses[1] < losses[0]


def test_sight_is_learned_from_renders_and_leaves_the_tower_alone_with_it(words):
    tower = vlm.build(words).model.vision_tower
    before = {name: value.clone() for name, value in tower.state_dict().items()}
    first = vlm.see(tower, steps=1, batch=16).record["loss"]
    assert vlm.see(tower.requires_grad_(True), steps=25, batch=16).record["loss"] < first
    assert tower.state_dict().keys() == before.keys()


def test_the_pictures_of_a_question_which_one_always_have_an_answer():
    for seed in range(60):
        asked = put(prompts("seen"), "together", "which", 2, Random(seed))
        target = asked.scenes[int(asked.question.answer.removeprefix("Image")) - 1]
        assert asked.question.text == f"Which picture shows a {target.color} {target.shape}?"


def test_the_command_builds_a_folder_that_loads(tmp_path):
    build.main(["--family", "vlm", "--effort", "0.001", "--out", str(tmp_path), "--threads", "1"])
    model, processor = load_model(tmp_path / "vlm")
    assert model.dtype == torch.float32
    assert processor.chat_template == vlm.TEMPLATE
    record = json.loads((tmp_path / "vlm" / "recipe.json").read_text())
    assert [record["training"][name]["steps"] for name in ("sight", "stage_1")] == [2, 2]
    assert set(record["accuracy"]) == {"one_1", "named_2", "named_3", "named_4", "named_5", "together_3", "clips_4"}
    assert (tmp_path / "vlm" / "model.safetensors").stat().st_mode & 0o044


@pytest.fixture(scope="module")
def shipped():
    model, processor = load_model(models.path("vlm"))
    return pipelines.load_vlm(model, processor)


def test_the_shipped_model_answers_about_one_picture_and_mixes_several_up(shipped):
    asked = load_questions(exam("shapes/final", {"one": 56, "named": 56}))
    said = answer_all(shipped, asked, max_new_tokens=24, batch_size=28)
    right = [one.is_right(answer.text) for one, answer in zip(asked, said, strict=True)]
    assert sum(right[:56]) / 56 > 0.85
    assert 0.4 < sum(right[56:]) / 56 < 0.8


def test_the_shipped_weights_are_small_and_load_as_float32(shipped):
    folder = models.path("vlm")
    assert sum(file.stat().st_size for file in folder.iterdir()) < 2.3e6
    assert shipped.model.dtype == torch.float32
    assert type(shipped).__name__ == "Llava"
    assert json.loads((folder / "recipe.json").read_text())["parameters"] == sum(p.numel() for p in shipped.model.parameters())
