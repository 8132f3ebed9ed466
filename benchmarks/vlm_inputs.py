"""What the sides of `vlm.py` read: a LLaVA-type model of random weights in the stock format, image files, and pairs of answers.

Run as `vlm_inputs.py PLAN`, a JSON file to which the places are added.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import CLIPImageProcessor, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor, PreTrainedTokenizerFast

sys.path.insert(0, str(Path(__file__).resolve().parent))
from reward_inputs import WORDS, write_picture

SPECIAL = ("<pad>", "<s>", "</s>", "<image>")
CHAT = """\
{%- for message in messages %}{{ message.role.upper() + ':' }}
{%- for part in message.content if part.type == 'image' %}{{ ' <image>' }}{% endfor %}
{%- for part in message.content if part.type == 'text' %}{{ (' ' if message.role == 'assistant' else '\n') + part.text }}{% endfor %}
{{- '</s>' if message.role == 'assistant' else ' ' }}{% endfor %}
{%- if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"""

LORA = r"model\.language_model\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
"""The layers that mmalign gives a LoRA by itself."""

Shape = dict[str, Any]


def _shape(text: tuple[int, int, int, int], vision: tuple[int, int, int], picture: int, vocabulary: int) -> Shape:
    """Width, feed-forward width, layers and heads of the language model; width, layers and heads of the tower; pixels; tokens."""
    keys = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    tower = dict(zip(("hidden_size", "num_hidden_layers", "num_attention_heads"), vision, strict=True))
    tower |= {"intermediate_size": 4 * vision[0], "projection_dim": vision[0], "image_size": picture, "patch_size": 14}
    return {"text": dict(zip(keys, text, strict=True)) | {"vocab_size": vocabulary}, "vision": tower}


SIZES = {
    "tiny": _shape((64, 160, 2, 4), (32, 2, 2), 56, 512),
    "mid": _shape((512, 1376, 8, 8), (384, 6, 6), 168, 32064),
    "7b": _shape((4096, 11008, 32, 32), (1024, 24, 16), 336, 32064),  # LLaVA-1.5-7B
}


def main() -> None:
    file = Path(sys.argv[1])
    plan = json.loads(file.read_text(encoding="utf-8"))
    torch.set_num_threads(plan["threads"])
    folder = Path(plan["folder"])
    shape = SIZES[plan["size"]]
    plan["parameters"] = write_model(shape, folder / "model", getattr(torch, plan["dtype"]))
    plan["model"], plan["lora"] = str(folder / "model"), LORA
    plan["tokens_per_image"] = (shape["vision"]["image_size"] // shape["vision"]["patch_size"]) ** 2
    side = 2 * shape["vision"]["image_size"]
    rows = range(plan["batch_size"] * plan["steps"])
    pictures = [str(write_picture(folder, place, side)) for place in range(len(rows) + max(plan["images"]))]
    plan["pictures"] = f"JPEG files of {side} pixels"
    plan["rows"] = {str(count): [row(place, pictures[place : place + count], plan["words"]) for place in rows] for count in plan["images"]}
    file.write_text(json.dumps(plan), encoding="utf-8")


def row(place: int, images: list[str], words: int) -> dict[str, Any]:
    """A pair in TRL's columns; the rejected answer is a quarter longer than the chosen one."""
    random = np.random.default_rng(place)
    told = {"prompt": random.choice(WORDS, words), "chosen": random.choice(WORDS, words), "rejected": random.choice(WORDS, words * 5 // 4)}
    return {"images": images, **{name: " ".join(text) for name, text in told.items()}}


def write_model(shape: Shape, folder: Path, dtype: torch.dtype) -> int:
    """Weights as transformers initializes them, embeddings enlarged so that pictures and words matter; gives their number."""
    words = tokenizer()
    torch.manual_seed(0)
    ends = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    image = words.convert_tokens_to_ids("<image>")
    tokens = (shape["vision"]["image_size"] // shape["vision"]["patch_size"]) ** 2
    text = {"model_type": "llama", "max_position_embeddings": 8192, **shape["text"], **ends}
    vision = {"model_type": "clip_vision_model", **shape["vision"]}
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=image, image_seq_length=tokens)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)  # seven billion parameters are not made twice as large first
    model = LlavaForConditionalGeneration(config)
    torch.set_default_dtype(before)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(10)
    model.save_pretrained(folder)
    size = shape["vision"]["image_size"]
    pictures = CLIPImageProcessor(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    layout = {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    LlavaProcessor(pictures, words, chat_template=CHAT, **layout).save_pretrained(folder)
    return sum(weight.numel() for weight in model.parameters())


def tokenizer() -> PreTrainedTokenizerFast:
    """Bytes, and whole the words of the texts."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=512, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False)
    raw.train_from_iterator([" " + " ".join(WORDS)] * 2, trainer)
    pad, bos, eos, image = SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token=pad, bos_token=bos, eos_token=eos, extra_special_tokens={"image_token": image}
    )


if __name__ == "__main__":
    main()
