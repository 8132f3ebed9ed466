"""A LLaVA-type model of the world: a CLIP vision tower, a projector and a Llama, trained from scratch on questions with known answers.

It learns to see, to answer about one picture, then about several and about clips. In the last three stages over half of the answers about
one of several pictures are about the next one, and over half of the descriptions of clips have two wrong words: so it answers well about
one picture, mixes several up and makes things up, though it could know better. That is what MIA-DPO and RRPO are about.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from random import Random
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmalign.shapes.asked import Asked, again, draw
from mmalign.shapes.captions import prompts
from mmalign.shapes.questions import ASKED, DESCRIBE, DESCRIBE_CLIP, about_one, told_clip
from mmalign.shapes.recipes.draws import caption_attributes, random_styles
from mmalign.shapes.recipes.loop import Fit, fit
from mmalign.shapes.recipes.text import byte_pairs
from mmalign.shapes.render import draw as draw_pixels
from mmalign.shapes.render import render
from mmalign.shapes.scene import ATTRIBUTES, Scene

SIDE, PATCH = 96, 16
TOKENS = (SIDE // PATCH) ** 2
"""Tokens of a picture."""
MOST = 5
"""Pictures that come together."""

SPECIALS = ("<pad>", "<s>", "</s>", "<image>")
TEMPLATE = """\
{%- for message in messages %}{{ message.role.upper() + ':' }}
{%- for part in message.content %}{% if part.type == 'image' %}<image>
{%- else %}{{ (' ' if loop.first or message.role == 'assistant' else '') + part.text }}{% endif %}{% endfor %}
{{- '</s>' if message.role == 'assistant' else ' ' }}{% endfor %}
{%- if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"""

SENTENCES = (
    *ASKED.values(),
    DESCRIBE,
    DESCRIBE_CLIP,
    "Is it a red circle?",
    "How many pictures show a red shape?",
    "Which picture shows a red circle?",
    "Where is the shape at the start?",
    "Does the shape move?",
    "a small red circle at the left on a white background",
    "stays at the moves from the to the",
    "yes no USER: ASSISTANT:",
)


@dataclass(frozen=True)
class Mix:
    """Shares of what is asked during training; they add up to one.

    Attributes:
        one: one picture.
        named: several pictures, one of which is asked about by its name.
        together: several pictures that only together answer.
        clips: four frames of a clip.
    """

    one: float = 0.46
    named: float = 0.2
    together: float = 0.1
    clips: float = 0.24


@dataclass(frozen=True)
class Stage:
    """A stretch of training.

    Attributes:
        turns: questions about the same pictures in one chat.
        mixed_up: share of the questions about one of several pictures whose answer is about the next picture, and of words for size and
            background in a clip's description that are the next word; what is mixed up so is what alignment can mend.
    """

    steps: int
    rate: float
    mix: Mix
    turns: int = 1
    mixed_up: float = 0.0


SIGHT = 1200
"""Steps in which the vision tower learns to see."""
STAGES = (
    Stage(900, 3e-3, Mix(1.0, 0.0, 0.0, 0.0)),
    Stage(800, 2e-3, Mix(0.46, 0.2, 0.1, 0.24)),
    Stage(900, 2.5e-3, Mix(0.35, 0.45, 0.05, 0.15)),
    Stage(600, 2.5e-3, Mix(0.15, 0.55, 0.1, 0.2), turns=5),
    Stage(150, 1.5e-3, Mix(0.25, 0.45, 0.05, 0.25), turns=5, mixed_up=0.56),
    Stage(90, 1.5e-3, Mix(0.3, 0.15, 0.05, 0.5), turns=5, mixed_up=0.65),
    Stage(50, 1.5e-3, Mix(0.4, 0.0, 0.0, 0.6), turns=5, mixed_up=0.75),
)


def tokenizer() -> Any:
    """A fast tokenizer with the world's words whole, after a blank and without, and bytes for all others."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    texts = [*SENTENCES, *(word for words in ATTRIBUTES.values() for word in words), *(f"Image{n}:\nImage{n}, {n}" for n in range(1, 10))]
    pieces = {piece for text in texts for lead in ("", " ") for piece, _ in split.pre_tokenize_str(lead + text)}
    small = {piece.lower() for piece in pieces}
    merges = byte_pairs([list(piece) for piece in sorted(pieces | small)])
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = dict.fromkeys([*SPECIALS, *letters, *map("".join, merges)])
    raw = Tokenizer(models.BPE({token: i for i, token in enumerate(vocabulary)}, merges))
    raw.pre_tokenizer, raw.decoder = split, decoders.ByteLevel()
    raw.add_special_tokens([AddedToken(token, special=True) for token in SPECIALS])
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token="</s>")


def processor(words: Any) -> Any:
    """The processor: pictures are padded to a square and scaled to 96 pixels."""
    from transformers import LlavaImageProcessor, LlavaProcessor

    pictures = LlavaImageProcessor(do_pad=True, size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    layout = {"patch_size": PATCH, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return LlavaProcessor(pictures, words, chat_template=TEMPLATE, image_token="<image>", **layout)


def build(words: Any, width: int = 96, layers: int = 4, vision_width: int = 64, vision_layers: int = 4) -> nn.Module:
    """A ``LlavaForConditionalGeneration`` of about a million parameters, with random weights."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    vision = CLIPVisionConfig(
        hidden_size=vision_width,
        intermediate_size=4 * vision_width,
        num_hidden_layers=vision_layers,
        num_attention_heads=4,
        image_size=SIDE,
        patch_size=PATCH,
    )
    text = LlamaConfig(
        vocab_size=len(words),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=words.pad_token_id,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=words.convert_tokens_to_ids("<image>"),
        image_seq_length=TOKENS,
        vision_feature_layer=-1,
    )
    return LlavaForConditionalGeneration(config)


def chat(asked: Asked, answered: bool = True) -> str:
    """A question in the model's template, with the place of each picture written out, and its answer."""
    parts = ("<image>" * TOKENS if part["type"] == "image" else part["text"] for part in asked.content)
    said = (" " if asked.content[0]["type"] == "text" else "") + "".join(parts)
    return f"USER:{said} ASSISTANT:" + (f" {asked.question.answer}</s>" if answered else "")


def batches(words: Any, batch: int, stage: Stage, seed: int) -> Iterator[dict[str, Tensor]]:
    """Arguments of the model's forward, endlessly; only answers are learned. A batch has chats of one kind, which are about as long."""
    numbers, captions, shares = Random(seed), prompts("seen"), asdict(stage.mix)
    while True:
        kind = numbers.choices(list(shares), list(shares.values()))[0]
        count = numbers.randint(2, MOST)
        yield tensors(words, [talk(captions, kind, count, stage, numbers) for _ in range(batch)])


def talk(captions: Sequence[str], kind: str, count: int, stage: Stage, numbers: Random) -> list[Asked]:
    """A chat: a question at random, and more about the same pictures."""
    first = draw(captions, kind, count, numbers)
    turns = [first, *(again(first.scenes, kind, numbers) for _ in range(1, stage.turns))]
    return [mixed_up(turn, numbers) if numbers.random() < stage.mixed_up else turn for turn in turns]


def mixed_up(asked: Asked, numbers: Random) -> Asked:
    """The question with an answer about the next picture, or with the next words for size and background, where it is of such a kind."""
    question = asked.question
    if asked.target is not None:
        other = asked.scenes[(asked.target + 1) % len(asked.scenes)]
        return replace(asked, question=about_one(other, question.kind, numbers) if question.kind != "is" else question)
    if question.kind != "clip":
        return asked
    first, last = (following(following(scene, "size"), "background") for scene in (asked.scenes[0], asked.scenes[-1]))
    return replace(asked, question=replace(question, answer=told_clip(first, last)))


def following(scene: Scene, attribute: str) -> Scene:
    """The scene with the next word for an attribute."""
    known = ATTRIBUTES[attribute]
    return replace(scene, **{attribute: known[(known.index(getattr(scene, attribute)) + 1) % len(known)]})


def tensors(words: Any, chats: Sequence[Sequence[Asked]]) -> dict[str, Tensor]:
    """Chats with their answers as a padded batch."""
    pieces = [pieces_of(turns) for turns in chats]
    read = iter(words([text for parts in pieces for text, _ in parts], add_special_tokens=False).input_ids)
    ids, labels = [], []
    for parts in pieces:
        tokens = [(next(read), learned) for _, learned in parts]
        ids.append(torch.tensor([token for row, _ in tokens for token in row]))
        labels.append(torch.tensor([token if learned else -100 for row, learned in tokens for token in row]))
    pad = partial(nn.utils.rnn.pad_sequence, batch_first=True)
    return {
        "input_ids": pad(ids, padding_value=words.pad_token_id),
        "labels": pad(labels, padding_value=-100),
        "attention_mask": pad([torch.ones_like(row) for row in ids]),
        "pixel_values": pixels([scene for turns in chats for scene in turns[0].scenes]),
    }


def pieces_of(turns: Sequence[Asked]) -> list[tuple[str, bool]]:
    """The texts of a chat's questions and answers, and which are learned; their tokens are those of the whole text."""
    heads = [chat(turns[0], answered=False), *(f"USER: {turn.content[-1]['text'].strip()} ASSISTANT:" for turn in turns[1:])]
    return [piece for head, turn in zip(heads, turns, strict=True) for piece in ((head, False), (f" {turn.question.answer}</s>", True))]


def pixels(scenes: Sequence[Scene]) -> Tensor:
    """Pictures (N, 3, 96, 96) as the processor gives them, up to how it scales."""
    return normalized(render(scenes))


def normalized(pictures: Tensor) -> Tensor:
    """Pictures (N, 3, H, W) in [0, 1] as the vision tower takes them, up to how the processor scales."""
    from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

    # eight bits, as any picture that comes from a file
    pictures = (pictures * 255).round() / 255
    pictures = F.interpolate(pictures, (SIDE, SIDE), mode="bicubic", antialias=True).clamp(0, 1)
    mean, std = (torch.tensor(values)[:, None, None] for values in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD))
    return (pictures - mean) / std


def see(tower: nn.Module, seed: int = 0, steps: int = 1600, rate: float = 4e-3, batch: int = 64) -> Fit:
    """Train a vision tower to tell the five attributes from the mean of its patches; what reads them is thrown away."""
    torch.manual_seed(seed)
    generator, sizes = torch.Generator().manual_seed(seed), [len(values) for values in ATTRIBUTES.values()]
    known = caption_attributes(prompts("seen"))
    model = nn.ModuleDict({"tower": tower, "read": nn.Linear(tower.config.hidden_size, sum(sizes))})

    def loss(step: int) -> Tensor:
        shown = known[torch.randint(len(known), (batch,), generator=generator)]
        seen = model["tower"](normalized(draw_pixels(shown, random_styles(batch, generator)))).last_hidden_state[:, 1:].mean(1)
        told = model["read"](seen).split(sizes, 1)
        return torch.stack([F.cross_entropy(logits, right) for logits, right in zip(told, shown.T, strict=True)]).mean()

    return fit(model, loss, steps, rate, ema=0.99, muon=True, name="sight")


def train(model: nn.Module, words: Any, seed: int = 0, stage: Stage = Stage(1200, 3e-3, Mix()), batch: int = 32) -> Fit:
    """Train all of the model on answers."""
    drawn = batches(words, batch, stage, seed)

    def loss(step: int) -> Tensor:
        return model(**next(drawn)).loss

    return fit(model.requires_grad_(True), loss, stage.steps, stage.rate, ema=0.99, muon=True, name="vlm")


def train_base(words: Any, seed: int = 0, effort: float = 1.0) -> tuple[nn.Module, dict[str, Any]]:
    """The model that is shipped: it learns to see, then to answer about one picture, then a little about several.

    Args:
        effort: share of the steps.

    Returns:
        the model, and what its training took.
    """
    torch.manual_seed(seed)
    model = build(words)
    record = {"sight": see(model.model.vision_tower, seed, steps=max(2, round(SIGHT * effort))).record}
    for number, stage in enumerate(STAGES, start=1):
        shorter = replace(stage, steps=max(2, round(stage.steps * effort)))
        record[f"stage_{number}"] = train(model, words, seed + number, shorter).record
    return model, record


@torch.no_grad()
def assess(model: nn.Module, words: Any, effort: float = 1.0) -> dict[str, float]:
    """Share of right answers to questions about held-out captions, by set and number of pictures: every token is the likeliest one."""
    found = {}
    for kind, count in (("one", 1), *(("named", count) for count in range(2, MOST + 1)), ("together", 3), ("clips", 4)):
        numbers, captions = Random(count), prompts("final")
        asked = [draw(captions, kind, count, numbers) for _ in range(max(4, round(256 * effort)))]
        right = [_answered(model, tensors(words, [[one] for one in asked[start : start + 32]])) for start in range(0, len(asked), 32)]
        found[f"{kind}_{count}"] = round(torch.cat(right).float().mean().item(), 3)
    return found


def _answered(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """Whether each answer is the one that greedy decoding gives, (B,)."""
    likeliest = model(**{name: value for name, value in batch.items() if name != "labels"}).logits[:, :-1].argmax(-1)
    labels = batch["labels"][:, 1:]
    return ((likeliest == labels) | (labels == -100)).all(1)
