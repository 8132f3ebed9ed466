"""A tiny Qwen2-VL that writes one of three annotations."""

import json
from pathlib import Path

from mmalign.scorers import rubric
from tests.tiny_vlms import make_scripted

RATINGS = [(5, 4, 3, 5), (1, 2, 2, 5), (4, 4, 1, 1)]
ASPECTS = ("prompt-following", "aesthetic", "fidelity", "harmlessness")
ANSWERS = [
    json.dumps({aspect: {"rationale": f"the {aspect} is so", "rating": rating} for aspect, rating in zip(ASPECTS, ratings, strict=True)})
    for ratings in RATINGS
]


def fields(folder: Path) -> dict:
    question = rubric.Rubric(rubric.ASPECTS).question("a red circle")
    return {"pretrained": str(make_scripted("qwen2_vl", folder, ANSWERS, question)), "dtype": "float32"}
