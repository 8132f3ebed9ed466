"""Tokenizer and CLIP text encoders: trained on seen captions alone to hold what they name, then frozen.

A denoiser that starts from such embeddings learns what a caption asks for in a fraction of the steps that joint training takes.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmalign.shapes.captions import prompts
from mmalign.shapes.recipes.draws import caption_attributes
from mmalign.shapes.recipes.loop import Fit, fit
from mmalign.shapes.scene import ATTRIBUTES

LENGTH = 16
WIDTH = 64
NOISE = 0.5  # deviation of what is added to an embedding before it is read, so that words end far apart


def tokenizer():
    """A ``CLIPTokenizer`` of 16 tokens with the words of the captions whole, and bytes for all others.

    Its merges are found here, because those of the tokenizers library differ from run to run where pairs are equally frequent.
    """
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    words = sorted({word for text in prompts("seen") for word in text.split()})
    letters = sorted(ByteLevel.alphabet())
    merges = byte_pairs([[*word[:-1], f"{word[-1]}</w>"] for word in words])
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters), *map("".join, merges)]
    return CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=merges, model_max_length=LENGTH)


def byte_pairs(words: list[list[str]]) -> list[tuple[str, str]]:
    """Byte-pair merges that make each word one token: the most frequent pair first, the last in the alphabet where several are."""
    merges = []
    while any(len(word) > 1 for word in words):
        counts = Counter(pair for word in words for pair in pairwise(word))
        best = max(counts, key=lambda pair: (counts[pair], pair))
        merges.append(best)
        words = [_merged(word, best) for word in words]
    return merges


def _merged(word: list[str], pair: tuple[str, str]) -> list[str]:
    for i in range(len(word) - 1):
        if (word[i], word[i + 1]) == pair:
            return _merged([*word[:i], word[i] + word[i + 1], *word[i + 2 :]], pair)
    return word


class Reader(nn.Module):
    """A text encoder with the heads that read attributes from its pooled embedding and from its hidden states."""

    def __init__(self, words) -> None:
        super().__init__()
        self.encoder = _encoder(words)
        self.layers = self.encoder.config.num_hidden_layers + 1
        classes = sum(len(values) for values in ATTRIBUTES.values())
        self.heads = nn.ModuleList(nn.Linear(WIDTH, classes) for _ in range(self.layers))

    def forward(self, ids: Tensor, generator: torch.Generator) -> tuple[list[Tensor], Tensor]:
        """Logits (B, classes) per place that is read, and how far the embeddings are from unit deviation."""
        out = self.encoder(ids, output_hidden_states=True)
        places = [out.text_embeds, *(state.mean(1) for state in out.hidden_states[1:])]
        noised = [place + NOISE * torch.randn(place.shape, generator=generator) for place in places]
        states = (out.text_embeds, *out.hidden_states[1:])
        scale = torch.stack([(state.square().mean() - 1).square() for state in states]).sum()
        return [head(place) for head, place in zip(self.heads, noised, strict=True)], scale


def train(words, seed: int = 0, steps: int = 400, rate: float = 3e-3, batch: int = 128) -> Fit:
    """Train one encoder; the model of the result is a ``CLIPTextModelWithProjection``."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    captions = prompts("seen")
    ids, targets = tokenize(words, captions), caption_attributes(captions)
    reader = Reader(words)

    def loss(step: int) -> Tensor:
        rows = torch.randint(len(captions), (batch,), generator=generator)
        logits, scale = reader(ids[rows], generator)
        return sum(attribute_loss(place, targets[rows]).mean() for place in logits) + scale

    done = fit(reader, loss, steps, rate, name="text")
    return Fit(reader.encoder, done.record)


def attribute_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy (B,) summed over the attributes, for logits (B, classes) and indices (B, 5)."""
    parts = logits.split([len(values) for values in ATTRIBUTES.values()], dim=1)
    return sum(F.cross_entropy(part, targets[:, i], reduction="none") for i, part in enumerate(parts))


def tokenize(words, captions: Sequence[str]) -> Tensor:
    """Token ids (N, 16)."""
    return words(list(captions), padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt").input_ids


def without_projection(encoder: nn.Module) -> nn.Module:
    """The same encoder as a ``CLIPTextModel``."""
    from transformers import CLIPTextModel

    plain = CLIPTextModel(encoder.config)
    known = {key.removeprefix("text_model."): value for key, value in encoder.state_dict().items() if "text_projection" not in key}
    own = {key: key.removeprefix("text_model.") for key in plain.state_dict()}
    plain.load_state_dict({key: known[short] for key, short in own.items()})
    return plain.eval().requires_grad_(False)


def _encoder(words) -> nn.Module:
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        projection_dim=WIDTH,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    encoder = CLIPTextModelWithProjection(config)
    for name, parameter in encoder.named_parameters():
        if "token_embedding" in name:
            nn.init.normal_(parameter)
        elif "text_projection" in name:
            nn.init.normal_(parameter, std=WIDTH**-0.5)
    return encoder
