"""Tiny vision-language models of every family, with chats and pictures for them."""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from mmalign import pipelines
from mmalign.policy import in_order
from mmalign.vlm.batch import pack
from mmalign.vlm.encode import PromptEncoder, Response
from mmalign.vlm.policy import VlmPolicy
from mmalign.vlm.token_logps import PackedModel
from tests import tiny_vlms


def picture(seed: int, height: int = 40, width: int = 60) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def turns(question: str, pictures: int = 0, films: int = 0) -> list[dict]:
    places = [{"type": "image"}] * pictures + [{"type": "video"}] * films
    return [{"role": "user", "content": [*places, {"type": "text", "text": question}]}]


def chat(processor, question: list[dict], answer: str) -> str:
    return processor.apply_chat_template([*question, {"role": "assistant", "content": [{"type": "text", "text": answer}]}])


@dataclass
class Vlm:
    """A tiny model with all that is made of it."""

    model: Any
    processor: Any
    encoder: PromptEncoder
    policy: VlmPolicy

    def batch(self, samples, candidates, **options):
        """A packed batch of samples, each a list of (turns, responses, pictures)."""
        rows = [[self.encoder(chat, [Response(r) for r in said], images, **options) for chat, said, images in sample] for sample in samples]
        count = len(rows)
        return pack(rows, in_order(count, candidates), [f"row {i}" for i in range(count)], torch.ones(count))


def build(name: str) -> Vlm:
    model, processor = tiny_vlms.build(name)
    family = pipelines.load_vlm(model, processor)
    return Vlm(model, processor, PromptEncoder(processor), VlmPolicy(family, PackedModel(model), lambda policy: nullcontext()))
