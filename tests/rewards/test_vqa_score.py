"""VQAScore against the published formula: on LLaVA with preparation and text written out, on Qwen by the first generated token."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmalign import rewards
from mmalign.errors import UserError
from tests.tiny_vlms import make

QUESTION = 'Does this figure show "{}"? Please answer yes or no.'
PROMPTS = ["a large red circle", "two {green} dogs", "", 'the word "No"', "a photo of a cat " * 5, "<image> </s>", "x"]
MEAN, STD = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])


def picture(width, height, mode="RGB"):
    few = np.random.default_rng(width * height).integers(0, 256, (height // 9 + 1, width // 9 + 1, len(mode)), dtype=np.uint8)
    return Image.fromarray(few.squeeze()).resize((width, height), Image.Resampling.BICUBIC)


PICTURES = {
    "square": picture(60, 60),
    "wide": picture(131, 40),
    "tall": picture(33, 101),
    "small": picture(11, 9),
    "gray": picture(50, 70, "L"),
    "clear": picture(50, 40, "RGBA"),
    "pixel": Image.new("RGB", (1, 1), (200, 30, 90)),
}


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    return make("llava", tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    return make("qwen2_vl", tmp_path_factory.mktemp("qwen"))


def on_white(image):
    """RGB as every scorer here sees it; the published code would drop the transparency and show what lies below it."""
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def clip_pixels(image, padded):
    """(1, 3, 28, 28): padded to a square of the mean color where asked, the shorter side to 28 by bicubic, the middle, CLIP's numbers."""
    if padded:
        side = max(image.size)
        square = Image.new("RGB", (side, side), tuple(int(255 * value) for value in MEAN))
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        image = square
    short, long = sorted(image.size)
    scaled = (28, 28 * long // short) if image.width <= image.height else (28 * long // short, 28)
    pixels = np.asarray(image.resize(scaled, Image.Resampling.BICUBIC), dtype=np.float64)
    top, left = (scaled[1] - 28) // 2, (scaled[0] - 28) // 2
    pixels = (pixels[top : top + 28, left : left + 28] / 255 - MEAN) / STD
    return torch.from_numpy(pixels).float().permute(2, 0, 1)[None]


def likelihood(model, tokenizer, pixels, question, answer):
    """exp of minus the mean cross entropy of the answer's tokens, 16 image tokens standing for the picture."""
    head = tokenizer(f"USER: {'<image>' * 16}\n{question} ASSISTANT:", return_tensors="pt")["input_ids"]
    tail = tokenizer(f" {answer}", return_tensors="pt", add_special_tokens=False)["input_ids"]
    logits = model(input_ids=torch.cat([head, tail], dim=1), pixel_values=pixels).logits[0, head.shape[1] - 1 : -1].double()
    return torch.nn.functional.cross_entropy(logits, tail[0]).neg().exp().float()


@pytest.mark.parametrize(("answer", "padded"), [("Yes", False), ("Yes", True), ("Yes, it does", False)])
@torch.inference_mode()
def test_it_is_the_published_formula_on_llava(answer, padded, llava):
    reward = rewards.load("vqa_score", pretrained=str(llava), answer=answer, pad_to_square=padded, dtype="float32", batch_size=3)
    scores, judge = reward.score(list(PICTURES.values()), PROMPTS), reward.judge
    harmless = [prompt.replace("<image> </s>", "< image> < /s>") for prompt in PROMPTS]
    expected = [
        likelihood(judge.model, judge.processor.tokenizer, clip_pixels(on_white(image), padded), QUESTION.format(text), answer)
        for image, text in zip(PICTURES.values(), harmless, strict=True)
    ]
    torch.testing.assert_close(scores, torch.stack(expected), rtol=1e-5, atol=1e-7)


@torch.inference_mode()
def test_it_is_the_probability_of_the_first_generated_token_on_qwen(qwen):
    reward = rewards.load("vqa_score", pretrained=str(qwen), question='Is it "{caption}"?', dtype="float32")
    processor, model = reward.judge.processor, reward.judge.model
    expected = []
    for image, prompt in zip(PICTURES.values(), PROMPTS, strict=True):
        chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": f'Is it "{prompt}"?'}]}]
        text = processor.apply_chat_template(chat, add_generation_prompt=True)
        inputs = processor(text=[text], images=[on_white(image)], return_tensors="pt")
        scores = model.generate(**inputs, max_new_tokens=1, output_scores=True, return_dict_in_generate=True).scores[0]
        expected.append(scores.softmax(-1)[0, processor.tokenizer.encode("Yes")[0]])
    torch.testing.assert_close(reward.score(list(PICTURES.values()), PROMPTS), torch.stack(expected), rtol=1e-5, atol=1e-7)


def test_a_question_without_a_place_for_the_prompt_is_refused(llava):
    with pytest.raises(UserError, match="caption"):
        rewards.load("vqa_score", pretrained=str(llava), question="Is this good?")
    with pytest.raises(UserError, match="answer"):
        rewards.load("vqa_score", pretrained=str(llava), answer=" ")
