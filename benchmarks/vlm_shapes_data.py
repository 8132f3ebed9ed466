"""Preferences of `vlm_shapes.py`: made from the model's own answers, or by rule, about pictures of captions that it was trained on."""

from collections.abc import Sequence
from random import Random

from mmalign.config.mia import MiaOptions
from mmalign.config.rrpo import RrpoOptions
from mmalign.data.responses import ResponseExample
from mmalign.data.responses.schema import spoken
from mmalign.factory import mia, rrpo
from mmalign.factory.questions import Asked
from mmalign.shapes.asked import put
from mmalign.shapes.captions import prompts
from mmalign.shapes.exam import exam, row
from mmalign.vlm.family import VlmFamily

ASKED = 1600
"""Questions about one picture behind MIA-DPO's preferences; fewer than half of the answers are wrong."""
CLIPS = 960
ROWS = 480
"""Rows of preferences, equally many for methods that are compared."""
MOST_TOKENS = 24


def mia_preferences(family: VlmFamily, seed: int) -> Sequence[ResponseExample]:
    """MIA-DPO's: one of several pictures is asked about, and the model's own wrong answer is rejected."""
    # words of the world are short, and a model that knows nothing else is sure of them
    options = MiaOptions(
        kinds={"sequence": {2: 1, 3: 1, 4: 1, 5: 1}},
        min_perplexity=None,
        max_length_ratio=None,
        min_edit_distance=0.0,
        max_new_tokens=MOST_TOKENS,
        batch_size=32,
        seed=seed,
    )
    found = mia.mine(family, _asked(exam("shapes/pairs", {"one": ASKED}, seed)), options).examples
    Random(seed).shuffle(found)
    return found[:ROWS]


def one_preferences(family: VlmFamily, seed: int) -> Sequence[ResponseExample]:
    """Plain DPO's: the same questions about the picture alone, and the right answer about another picture is rejected."""
    rows, numbers = exam("shapes/pairs", {"one": ASKED}, seed), Random(seed)
    examples = []
    for one in rows:
        others = [other["answer"] for other in rows if other["question"] == one["question"] and other["answer"] != one["answer"]]
        if one["type"] == "is":
            others = ["no" if one["answer"] == "yes" else "yes"]
        examples.append(
            ResponseExample((spoken("user", one["question"]),), (one["answer"], numbers.choice(others)), images=tuple(one["images"]))
        )
    numbers.shuffle(examples)
    return examples[:ROWS]


def clip_preferences(family: VlmFamily, seed: int, split: str = "pairs", clips: int = CLIPS) -> Sequence[ResponseExample]:
    """RRPO's: clips to describe, and what the model says of the same clip spoiled, where it says something else than is right."""
    captions, numbers = prompts(split), Random(f"clips {seed}")
    asked = [row(put(captions, "clips", "clip", 0, numbers), "clips") for _ in range(clips)]
    options = RrpoOptions(open_answers="differs", max_new_tokens=MOST_TOKENS, batch_size=32, mask_share=(0.02, 0.1), seed=seed)
    return rrpo.mine(family, _asked(asked), options).examples[:ROWS]


def _asked(rows: Sequence[dict]) -> list[Asked]:
    return [
        Asked(
            one["question"].replace("<image>", "").strip(),
            one["answer"],
            tuple(one["images"]),
            origin=f"question {number}",
            prompt=one["question"],
        )
        for number, one in enumerate(rows)
    ]
