"""A tiny Qwen2.5-VL with its processor."""

from pathlib import Path

from tests.tiny_vlms import make


def fields(folder: Path) -> dict:
    return {"pretrained": str(make("qwen2_5_vl", folder)), "dtype": "float32"}
