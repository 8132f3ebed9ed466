"""A tiny Qwen2.5-VL that writes a few words of assessment and one of five final scores."""

from pathlib import Path

from mmalign.scorers.unified_reward_prompts import POINT
from tests.tiny_vlms import make_scripted

ANSWERS = [f"circle (object): 1\nFinal Score: {score}" for score in ("1", "2", "3.5", "4", "5")]


def fields(folder: Path) -> dict:
    return {"pretrained": str(make_scripted("qwen2_5_vl", folder, ANSWERS, POINT)), "dtype": "float32"}
