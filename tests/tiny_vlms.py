"""Tiny vision-language models in the stock formats, made at test time from configurations, seeded weights and a local tokenizer.

``make(name, folder)`` writes a model and its processor; both are read back by transformers' Auto classes. The chat templates have the
turns and image places of the families they stand for, in few lines.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessor,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessor,
    Idefics3Processor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessor,
    LlavaNextProcessor,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessor,
    SmolVLMProcessor,
    SmolVLMVideoProcessor,
    VipLlavaConfig,
    VipLlavaForConditionalGeneration,
)

VOCABULARY = 640
WIDTH = 32
CORPUS = [
    "Does this figure show the picture? Please answer yes or no. Yes No",
    "You are given a text caption and an image. Rate the image on a scale from 1 to 5. Final Score: 3",
    "a large red circle at the left on a gray background, a small blue square at the top on a white background",
    "Both images are equally good. Image 1 is better. Image 2 is better.",
    "You are a helpful assistant. USER ASSISTANT User Assistant user assistant system",
]

QWEN_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
QWEN_CHAT = """\
{%- if messages[0].role != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}
{%- for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}
{%- if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}
{%- if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>
{%- elif part.type == 'video' %}<|vision_start|><|video_pad|><|vision_end|>
{%- else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""

LLAVA_TOKENS = ["<pad>", "<s>", "</s>", "<image>", "<video>"]
LLAVA_CHAT = """\
{%- for message in messages %}{{ message.role.upper() + ':' }}
{%- for part in message.content if part.type in ('image', 'video') %}{{ ' <' + part.type + '>' }}{% endfor %}
{%- for part in message.content if part.type == 'text' %}{{ (' ' if message.role == 'assistant' else '\n') + part.text }}{% endfor %}
{{- '</s>' if message.role == 'assistant' else ' ' }}{% endfor %}
{%- if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"""

IDEFICS_TOKENS = [
    *("<|im_start|>", "<|im_end|>", "<end_of_utterance>", "<fake_token_around_image>", "<image>", "<global-img>"),
    *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
]
IDEFICS_CHAT = """\
<|im_start|>{% for message in messages %}{{ message.role | capitalize }}
{{- ':' if message.content[0].type == 'image' else ': ' }}{% for part in message.content %}
{%- if part.type in ('image', 'video') %}{{ '<' + part.type + '>' }}{% else %}{{ part.text }}{% endif %}{% endfor %}
{{- '<end_of_utterance>\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"""


def tokenizer(specials: list[str], eos: str, pad: str, corpus: list[str] | None = None, **extra) -> PreTrainedTokenizerFast:
    """A byte-level BPE trained on a few sentences; the special tokens come first."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        corpus or CORPUS, trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=specials, initial_alphabet=alphabet)
    )
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=eos, pad_token=pad, extra_special_tokens=specials, **extra)


def _text(layers: int = 2, **extra) -> dict:
    shape = {"hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": layers, "num_attention_heads": 4, "num_key_value_heads": 2}
    return {"vocab_size": VOCABULARY, **shape, "initializer_range": 0.3, **extra}


def _mrope(**extra) -> dict:
    return {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2], **extra}


def _qwen_ids(words: PreTrainedTokenizerFast) -> dict:
    names = {"image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>"}
    names |= {"vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>"}
    return {key: words.convert_tokens_to_ids(token) for key, token in names.items()}


def _ends(words: PreTrainedTokenizerFast) -> dict:
    return {"eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id, "bos_token_id": words.bos_token_id}


def _qwen(words, model_type: type, config_type: type, processor_type: type, vision: dict, rope: dict, video: type):
    text = _text(rope_parameters=rope, **_ends(words)) | ({"head_dim": 8} if config_type is Qwen3VLConfig else {})
    config = config_type(text_config=text, vision_config=vision, **_qwen_ids(words))
    patch = {"patch_size": vision["patch_size"], "merge_size": 2, "temporal_patch_size": 2}
    size = {"shortest_edge": 4 * (2 * vision["patch_size"]) ** 2, "longest_edge": 16 * (2 * vision["patch_size"]) ** 2}
    pictures, films = Qwen2VLImageProcessor(size=size, **patch), video(size=size, **patch)
    return model_type(config), processor_type(pictures, words, films, chat_template=QWEN_CHAT)


def qwen2_vl(words):
    vision = {"depth": 2, "embed_dim": 16, "hidden_size": WIDTH, "num_heads": 2, "mlp_ratio": 2, "patch_size": 14, "initializer_range": 0.3}
    return _qwen(words, Qwen2VLForConditionalGeneration, Qwen2VLConfig, Qwen2VLProcessor, vision, _mrope(), Qwen2VLVideoProcessor)


def qwen2_5_vl(words):
    vision = {"depth": 2, "hidden_size": 16, "out_hidden_size": WIDTH, "num_heads": 2, "intermediate_size": 32, "patch_size": 14}
    vision |= {"window_size": 56, "fullatt_block_indexes": [1], "initializer_range": 0.3}
    return _qwen(words, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLConfig, Qwen2_5_VLProcessor, vision, _mrope(), Qwen2VLVideoProcessor)


def qwen3_vl(words):
    vision = {"depth": 2, "hidden_size": 16, "out_hidden_size": WIDTH, "num_heads": 2, "intermediate_size": 32, "patch_size": 16}
    vision |= {"num_position_embeddings": 16, "deepstack_visual_indexes": [0], "initializer_range": 0.3}
    rope = _mrope(mrope_interleaved=True)
    return _qwen(words, Qwen3VLForConditionalGeneration, Qwen3VLConfig, Qwen3VLProcessor, vision, rope, Qwen3VLVideoProcessor)


CLIP = {"model_type": "clip_vision_model", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
CLIP |= {"image_size": 28, "patch_size": 7, "projection_dim": 16, "initializer_factor": 10.0}
SQUARE = {"size": {"shortest_edge": 28}, "crop_size": {"height": 28, "width": 28}}
LAYOUT = {"patch_size": 7, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1, "chat_template": LLAVA_CHAT}
PINPOINTS = [[28, 56], [56, 28], [56, 56], [28, 84]]


def _llava_config(words, kind: type, **extra):
    image, text = words.convert_tokens_to_ids("<image>"), _text(model_type="llama", **_ends(words))
    return kind(vision_config=CLIP, text_config=text, image_token_index=image, image_seq_length=16, **extra)


def llava(words):
    model = LlavaForConditionalGeneration(_llava_config(words, LlavaConfig))
    return model, LlavaProcessor(CLIPImageProcessor(**SQUARE), words, **LAYOUT)


def vipllava(words):
    """A family of no file of its own."""
    model = VipLlavaForConditionalGeneration(_llava_config(words, VipLlavaConfig, vision_feature_layers=[-2, -1]))
    return model, LlavaProcessor(CLIPImageProcessor(**SQUARE), words, **LAYOUT)


def llava_next(words):
    model = LlavaNextForConditionalGeneration(_llava_config(words, LlavaNextConfig, image_grid_pinpoints=PINPOINTS))
    model.model.image_newline.data.normal_()
    return model, LlavaNextProcessor(LlavaNextImageProcessor(**SQUARE, image_grid_pinpoints=PINPOINTS), words, **LAYOUT)


def llava_onevision(words):
    text = _text(model_type="qwen2", tie_word_embeddings=False, **_ends(words))
    tokens = {f"{kind}_token_index": words.convert_tokens_to_ids(f"<{kind}>") for kind in ("image", "video")}
    vision = CLIP | {"model_type": "siglip_vision_model", "vision_use_head": False}
    places = {"image_grid_pinpoints": PINPOINTS}
    # at most two tiles of tokens, so that more are made fewer
    shape = {"vision_aspect_ratio": "anyres_max_2"}
    model = LlavaOnevisionForConditionalGeneration(
        LlavaOnevisionConfig(vision_config=vision, text_config=text, **tokens, **places, **shape)
    )
    model.model.image_newline.data.normal_()
    square = {"size": {"height": 28, "width": 28}}
    pictures, films = LlavaOnevisionImageProcessor(**square, **places), LlavaOnevisionVideoProcessor(**square)
    layout = {"num_image_tokens": 16, "vision_feature_select_strategy": "full", "chat_template": LLAVA_CHAT}
    return model, LlavaOnevisionProcessor(pictures, words, films, **layout, **shape)


def _idefics(words, model_type: type, config_type: type):
    vision = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 7,
    }
    text = _text(model_type="llama", **_ends(words))
    config = config_type(
        vision_config=vision, text_config=text, image_token_id=words.convert_tokens_to_ids("<image>"), scale_factor=2, **_ends(words)
    )
    return model_type(config)


IDEFICS_SIZES = {"size": {"longest_edge": 56}, "max_image_size": {"longest_edge": 28}}


def idefics3(words):
    processor = Idefics3Processor(Idefics3ImageProcessor(**IDEFICS_SIZES), words, image_seq_len=4, chat_template=IDEFICS_CHAT)
    return _idefics(words, Idefics3ForConditionalGeneration, Idefics3Config), processor


def smolvlm(words):
    """Its processor needs the package num2words."""
    sampling = {"fps": 1, "max_frames": 4, "video_size": {"longest_edge": 28}}
    pictures, films = SmolVLMImageProcessor(**IDEFICS_SIZES), SmolVLMVideoProcessor(**IDEFICS_SIZES, video_sampling=sampling)
    processor = SmolVLMProcessor(pictures, words, films, image_seq_len=4, chat_template=IDEFICS_CHAT)
    return _idefics(words, SmolVLMForConditionalGeneration, SmolVLMConfig), processor


QWEN = (QWEN_TOKENS, "<|im_end|>", "<|endoftext|>")
LLAVA = (LLAVA_TOKENS, "</s>", "<pad>")
IDEFICS = (IDEFICS_TOKENS, "<end_of_utterance>", "<|im_end|>")
FAMILIES: dict[str, tuple[Callable, tuple]] = {
    "llava": (llava, LLAVA),
    "vipllava": (vipllava, LLAVA),
    "llava_next": (llava_next, LLAVA),
    "llava_onevision": (llava_onevision, LLAVA),
    "qwen2_vl": (qwen2_vl, QWEN),
    "qwen2_5_vl": (qwen2_5_vl, QWEN),
    "qwen3_vl": (qwen3_vl, QWEN),
    "idefics3": (idefics3, IDEFICS),
    "smolvlm": (smolvlm, IDEFICS),
}


def build(name: str, corpus: list[str] | None = None, seed: int = 0):
    """A tiny model in evaluation mode and its processor."""
    family, tokens = FAMILIES[name]
    words = tokenizer(*tokens, corpus=corpus, **({"bos_token": "<s>"} if tokens is LLAVA else {}))
    torch.manual_seed(seed)
    model, processor = family(words)
    return model.eval(), processor


def script(model, processor, answers: list[str], question: str, pictures: int = 1) -> None:
    """Makes a model answer with one of a few texts, which of them depending on pictures and question, and stop after it.

    Each text becomes one token. Its embedding lies along one axis and drowns out everything else, and nothing but the end is said there.

    Args:
        question: like those that will be asked.
        pictures: before each question.
    """
    processor.tokenizer.add_tokens(answers)
    model.resize_token_embeddings(len(processor.tokenizer), mean_resizing=False)
    ids = processor.tokenizer.convert_tokens_to_ids(answers)
    usual = _state_before_the_answer(model, processor, question, pictures)
    usual[0] = 0
    rows = torch.randn(len(ids), len(usual), generator=torch.Generator().manual_seed(1))
    rows[:, 0] = 0
    # all are as likely in the usual state, and likelier than any other token
    rows += (20 - rows @ usual)[:, None] * usual / usual.square().sum()
    said, read = model.get_output_embeddings().weight.data, model.get_input_embeddings().weight.data
    said.zero_()
    said[ids], said[processor.tokenizer.eos_token_id, 0] = rows, 1
    read[ids] = 0
    read[ids, 0] = 1e4


@torch.no_grad()
def _state_before_the_answer(model, processor, question: str, pictures: int) -> torch.Tensor:
    """The mean of the last hidden state (C,) over some pictures."""
    states, numbers = [], np.random.default_rng(0)
    hook = model.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: states.append(inputs[0][0, -1]))
    content = [*({"type": "image"} for _ in range(pictures)), {"type": "text", "text": question}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    for _ in range(16):
        shape = (*numbers.integers(8, 100, 2), 3)
        images = [Image.fromarray(numbers.integers(0, 256, shape, dtype=np.uint8)) for _ in range(pictures)]
        model(**processor(text=[text], images=[images], return_tensors="pt"))
    hook.remove()
    return torch.stack(states).mean(0)


def make_scripted(name: str, folder: Path, answers: list[str], question: str, pictures: int = 1) -> Path:
    """A tiny model in a folder that answers with one of a few texts."""
    model, processor = build(name)
    script(model, processor, answers, question, pictures)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def make(name: str, folder: Path, corpus: list[str] | None = None, seed: int = 0) -> Path:
    """Writes a tiny model and its processor into a folder, as a repository on the hub holds them."""
    model, processor = build(name, corpus, seed)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
