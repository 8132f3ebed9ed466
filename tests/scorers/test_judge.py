"""Judges of every family: their answers against the model's own loss and its own greedy words, alone and in a padded batch."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image

from mmalign.errors import UserError
from mmalign.scorers.judge import Question
from mmalign.scorers.load_judge import load_judge
from tests.tiny_vlms import FAMILIES, make

TURNS = dict.fromkeys(("llava", "llava_next", "llava_onevision", "vipllava"), "ASSISTANT: Yes")
TURNS |= {"qwen": "<|im_start|>assistant\nYes", "idefics3": "Assistant: Yes", "smolvlm": "Assistant: Yes"}


@pytest.fixture(scope="module", params=FAMILIES)
def judge(request, tmp_path_factory):
    if request.param == "smolvlm" and find_spec("num2words") is None:
        pytest.skip("SmolVLM's processor needs num2words")
    judge = load_judge(make(request.param, tmp_path_factory.mktemp(request.param)))
    judge.family = request.param
    return judge


def picture(width, height):
    return Image.fromarray(np.random.default_rng(width * height).integers(0, 256, (height, width, 3), dtype=np.uint8))


QUESTIONS = [
    Question((picture(96, 40),), "Rate"),
    Question((picture(64, 64),), "Does this figure show a large red circle at the left? Please answer yes or no."),
    Question((picture(1, 1),), "x y z"),
    Question((picture(30, 90),), "Image"),
]
PAIRS = [
    Question((picture(96, 40), picture(30, 30)), "Which is better?"),
    Question((picture(64, 64), picture(20, 80)), "Image 1 is a large red circle at the left and image 2 is a small blue square."),
]


@pytest.mark.parametrize("questions", [QUESTIONS, PAIRS], ids=["one picture", "two pictures"])
@torch.inference_mode()
def test_a_padded_batch_answers_as_its_questions_alone(judge, questions):
    def logprobs(few):
        return judge.answer_logprobs(judge.encode(few, "right", "Yes, it does"))

    torch.testing.assert_close(logprobs(questions), torch.cat([logprobs([question]) for question in questions]), rtol=1e-5, atol=1e-5)
    alone = [judge.write(judge.encode([question]), 6)[0] for question in questions]
    assert judge.write(judge.encode(questions), 6) == alone


@torch.inference_mode()
def test_the_answer_depends_on_every_picture_and_on_their_order(judge):
    one, other = picture(64, 64), Image.new("RGB", (64, 64), (250, 30, 20))
    questions = [Question(images, "Which?") for images in ((one, other), (other, one), (one, one), (other, other))]
    logprobs = judge.answer_logprobs(judge.encode(questions, "right", "Yes"))
    assert (logprobs[:, None] - logprobs).abs().fill_diagonal_(1).min() > 1e-4


@torch.inference_mode()
def test_the_answer_s_log_probability_is_the_model_s_own_loss_on_it(judge):
    question = QUESTIONS[1]
    asked = judge.encode([question], "right", "Yes, it does")
    head = judge.processor(text=[judge.chat(question)], images=[list(question.images)], return_tensors="pt", **_specials(judge))
    labels = asked.inputs["input_ids"].clone()
    labels[:, : head["input_ids"].shape[1]] = -100
    assert asked.answers == [int((labels >= 0).sum())]
    assert judge.processor.decode(labels[labels >= 0]).strip() == "Yes, it does"
    loss = judge.model(**asked.inputs, labels=labels).loss
    torch.testing.assert_close(judge.answer_logprobs(asked), -loss[None], rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_the_words_are_the_likeliest_tokens_one_after_the_other(judge):
    question = QUESTIONS[1]
    inputs = dict(judge.encode([question]).inputs)
    start = inputs["input_ids"].shape[1]
    for _ in range(5):
        token = judge.model(**inputs, use_cache=False).logits[:, -1].argmax(-1, keepdim=True)
        inputs["input_ids"] = torch.cat([inputs["input_ids"], token], dim=1)
        for name in inputs.keys() & {"attention_mask", "mm_token_type_ids"}:
            inputs[name] = torch.cat([inputs[name], torch.full_like(token, name == "attention_mask")], dim=1)
        if token.item() == judge.processor.tokenizer.eos_token_id:
            break
    expected = judge.processor.decode(inputs["input_ids"][0, start:], skip_special_tokens=True)
    assert judge.write(judge.encode([question]), 5) == [expected]


def test_an_answer_stands_where_the_model_s_own_template_puts_it(judge):
    key = "qwen" if judge.family.startswith("qwen") else judge.family
    assert judge.chat(QUESTIONS[0], "Yes").endswith(TURNS[key])


@torch.inference_mode()
def test_control_tokens_in_a_prompt_are_words(judge):
    control = judge.processor.tokenizer.all_special_tokens
    text = judge.plain(" ".join(control))
    assert not any(token in text for token in control)
    assert text.replace(" ", "") == "".join(control)
    asked = judge.encode([Question((picture(30, 30),), text)])
    ordinary = judge.encode([Question((picture(30, 30),), "a")])
    for token in control:
        token_id = judge.processor.tokenizer.convert_tokens_to_ids(token)
        assert (asked.inputs["input_ids"] == token_id).sum() == (ordinary.inputs["input_ids"] == token_id).sum()


@torch.inference_mode()
def test_a_penalty_on_repetition_does_not_see_the_padding(tmp_path):
    judge = load_judge(make("qwen2_vl", tmp_path))
    judge.model.generation_config.repetition_penalty = 3.0
    short, pad = judge.encode(QUESTIONS[:1]).inputs, judge.processor.tokenizer.pad_token_id
    said, likeliest = judge.model.lm_head.weight, judge.model(**short).logits[0, -1].argmax()
    said[pad] = 1.01 * said[likeliest]
    assert judge.model.generate(**short, max_new_tokens=1)[0, -1] == pad
    assert judge.write(judge.encode(QUESTIONS[:2]), 1)[0] == ""  # the padding is a token that is not shown


@torch.inference_mode()
def test_half_precision_leaves_the_rotary_frequencies_exact(tmp_path):
    judge = load_judge(make("qwen2_5_vl", tmp_path), dtype=torch.bfloat16)
    assert judge.model.dtype == torch.bfloat16
    frequencies = judge.model.model.language_model.rotary_emb.inv_freq
    torch.testing.assert_close(frequencies, 10000.0 ** -(torch.arange(0, 8, 2) / 8), rtol=1e-6, atol=0)
    assert judge.answer_logprobs(judge.encode(QUESTIONS, "right", "Yes")).dtype == torch.float32


def test_a_picture_that_the_processor_refuses_is_named(tmp_path):
    judge = load_judge(make("qwen2_vl", tmp_path))
    long = Question((picture(900, 3),), "Rate", name="banner.png")
    with pytest.raises(UserError, match=r"banner\.png .*aspect ratio"):
        judge.encode([QUESTIONS[0], long])


def _no_template(folder):
    (folder / "chat_template.jinja").unlink()


def _encoder_decoder(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "is_encoder_decoder": True}))


def _no_weights(folder):
    (folder / "model.safetensors").unlink()


def _half_a_file(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_no_template, "chat template"),
        (_encoder_decoder, "encoder-decoder"),
        (_no_weights, "cannot read the weights"),
        (_half_a_file, "cannot read the weights"),
    ],
)
def test_what_cannot_judge_is_said_in_a_sentence(edit, message, tmp_path):
    folder = make("llava", tmp_path)
    edit(folder)
    with pytest.raises(UserError, match=message) as caught:
        load_judge(folder)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        load_judge(tmp_path / "nowhere")


def _specials(judge):
    return {"add_special_tokens": False} if judge.family == "llava" else {}
